import { describe, expect, it } from 'vitest';
import { openCheckpoint, safetensors } from '../src/index.js';
import { expectFailure, memory, rawSafetensors, recording } from './support/files.js';

const open = (file: Uint8Array) => safetensors.open(memory(file));
const entry = (dtype: string, shape: string, begin: number, end: number) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;

describe('safetensors reader', () => {
  it('reads names, types, shapes and bytes', async () => {
    const data = Uint8Array.from({ length: 14 }, (_, i) => i);
    const header = `{"__metadata__":{"format":"pt"},"b":${entry('U8', '[2]', 12, 14)},"a":${entry('F16', '[3,2]', 0, 12)}}   `;
    const checkpoint = await open(rawSafetensors(header, data));
    expect([...checkpoint.tensors.keys()]).toEqual(['a', 'b']);
    expect(checkpoint.metadata).toEqual(new Map([['format', 'pt']]));
    const a = checkpoint.tensors.get('a');
    expect(a).toMatchObject({ dtype: 'f16', shape: [3, 2], byteLength: 12 });
    expect((await a?.read({ start: 1, end: 3 }))?.bytes).toEqual(data.slice(4, 12));
    expect((await checkpoint.tensors.get('b')?.read())?.bytes).toEqual(data.slice(12));
  });

  it('reads only the header on opening and only the rows asked for', async () => {
    const header = `{"a":${entry('F32', '[1000,4]', 0, 16000)}}`;
    const source = recording(memory(rawSafetensors(header, 16000)));
    const checkpoint = await safetensors.open(source);
    const dataStart = 8 + header.length;
    expect(Math.max(...source.ranges.map(([, end]) => end))).toBe(dataStart);
    source.ranges.length = 0;
    await checkpoint.tensors.get('a')?.read({ start: 10, end: 12 });
    expect(source.ranges).toEqual([[dataStart + 160, dataStart + 192]]);
  });

  it('takes __proto__, empty names, scalars, empty tensors and an empty file of tensors', async () => {
    const header = `{"__proto__":${entry('I32', '[]', 0, 4)},"":${entry('F32', '[0,3]', 4, 4)},"constructor":${entry('BOOL', '[1]', 4, 5)}}`;
    const checkpoint = await open(rawSafetensors(header, 5));
    expect([...checkpoint.tensors.keys()].sort()).toEqual(['', '__proto__', 'constructor']);
    expect((await checkpoint.tensors.get('__proto__')?.read())?.shape).toEqual([]);
    expect((await checkpoint.tensors.get('')?.read())?.bytes.length).toBe(0);
    expect((await open(rawSafetensors('{}'))).tensors.size).toBe(0);
  });

  it('knows every dtype', async () => {
    const bits: Record<string, number> = {
      BOOL: 8,
      U8: 8,
      I8: 8,
      U16: 16,
      I16: 16,
      U32: 32,
      I32: 32,
      U64: 64,
      I64: 64,
      F16: 16,
      BF16: 16,
      F32: 32,
      F64: 64,
      F8_E4M3: 8,
      F8_E5M2: 8,
      F8_E8M0: 8,
      F6_E2M3: 6,
      F6_E3M2: 6,
      F4: 4,
    };
    for (const [dtype, width] of Object.entries(bits)) {
      const bytes = (8 * width) / 8;
      const checkpoint = await open(rawSafetensors(`{"t":${entry(dtype, '[2,4]', 0, bytes)}}`, bytes));
      const packed = await checkpoint.tensors.get('t')?.read({ start: 1, end: 2 });
      expect(packed?.bytes.length, dtype).toBe(bytes / 2);
    }
  });

  it('moves sub-byte rows that do not start on a byte to their own bytes', async () => {
    // 4 rows of 3 codes: 1 2 3 | 4 5 6 | 7 8 9 | a b c, low nibble first.
    const data = Uint8Array.of(0x21, 0x43, 0x65, 0x87, 0xa9, 0xcb);
    const checkpoint = await open(rawSafetensors(`{"t":${entry('F4', '[4,3]', 0, 6)}}`, data));
    const tensor = checkpoint.tensors.get('t');
    expect((await tensor?.read())?.bytes).toEqual(Uint8Array.of(0x21, 0x03, 0x54, 0x06, 0x87, 0x09, 0xba, 0x0c));
    expect((await tensor?.read({ start: 1, end: 3 }))?.bytes).toEqual(Uint8Array.of(0x54, 0x06, 0x87, 0x09));
    const vector = await open(rawSafetensors(`{"t":${entry('F4', '[12]', 0, 6)}}`, data));
    expect((await vector.tensors.get('t')?.read({ start: 1, end: 4 }))?.bytes).toEqual(Uint8Array.of(0x32, 0x04));
  });

  const bad: [string, Uint8Array, string, ...string[]][] = [
    ['an empty file', new Uint8Array(0), 'FORMAT', 'too few'],
    ['a header longer than the file', rawSafetensors('{}', 0, 1000n), 'FORMAT', 'header length 1000'],
    ['a header of 2^63 bytes', rawSafetensors('{}', 0, 2n ** 63n), 'FORMAT', 'header length'],
    ['a header over the limit', rawSafetensors('{}', 0, 100_000_001n), 'FORMAT', 'header length 100000001'],
    ['a header that is no object', rawSafetensors('[1]'), 'FORMAT', "start with '{'"],
    ['a header with leading space', rawSafetensors(' {}'), 'FORMAT', "start with '{'"],
    ['a header that is not UTF-8', rawSafetensors(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)), 'FORMAT', 'UTF-8'],
    ['broken JSON', rawSafetensors('{"a":'), 'FORMAT', 'character'],
    ['text after the header', rawSafetensors('{}x'), 'FORMAT', 'unexpected text'],
    [
      'duplicate tensors',
      rawSafetensors(`{"a":${entry('U8', '[1]', 0, 1)},"a":${entry('U8', '[1]', 1, 2)}}`, 2),
      'FORMAT',
      'duplicate key "a"',
    ],
    ['metadata that is not strings', rawSafetensors('{"__metadata__":{"a":1}}'), 'FORMAT', '__metadata__ "a"'],
    ['metadata that is no object', rawSafetensors('{"__metadata__":"x"}'), 'FORMAT', '__metadata__'],
    [
      'a hole',
      rawSafetensors(`{"a":${entry('U8', '[1]', 0, 1)},"b":${entry('U8', '[1]', 2, 3)}}`, 3),
      'FORMAT',
      'b:',
      'hole',
    ],
    [
      'an overlap',
      rawSafetensors(`{"a":${entry('U8', '[2]', 0, 2)},"b":${entry('U8', '[2]', 1, 3)}}`, 3),
      'FORMAT',
      'b:',
      'overlap',
    ],
    ['data after the last tensor', rawSafetensors(`{"a":${entry('U8', '[1]', 0, 1)}}`, 3), 'FORMAT', 'left over'],
    ['data that ends early', rawSafetensors(`{"a":${entry('U8', '[4]', 0, 4)}}`, 3), 'FORMAT', 'a:', 'cut off'],
    ['offsets the wrong way round', rawSafetensors(`{"a":${entry('U8', '[1]', 1, 0)}}`, 1), 'FORMAT', 'a:'],
    ['a size that disagrees', rawSafetensors(`{"a":${entry('F32', '[2]', 0, 4)}}`, 4), 'FORMAT', 'a:', 'needs 8 bytes'],
    [
      'a product overflow',
      rawSafetensors(`{"a":${entry('F32', '[9007199254740991,9007199254740991]', 0, 4)}}`, 4),
      'SHAPE',
      'a:',
      'too many elements',
    ],
    [
      'a dimension over 2^53',
      rawSafetensors(`{"a":${entry('U8', '[9007199254740993]', 0, 4)}}`, 4),
      'FORMAT',
      'a:',
      'shape',
    ],
    ['a negative dimension', rawSafetensors(`{"a":${entry('U8', '[-1]', 0, 1)}}`, 1), 'FORMAT', 'a:', 'shape'],
    ['a fractional dimension', rawSafetensors(`{"a":${entry('U8', '[1.5]', 0, 1)}}`, 1), 'FORMAT', 'a:', 'shape'],
    [
      'sub-byte sizes that are not whole bytes',
      rawSafetensors(`{"a":${entry('F4', '[3]', 0, 2)}}`, 2),
      'FORMAT',
      'a:',
      'whole number of bytes',
    ],
    ['C64', rawSafetensors(`{"a":${entry('C64', '[1]', 0, 8)}}`, 8), 'UNSUPPORTED', 'a:', 'C64'],
    [
      'a dtype named __proto__',
      rawSafetensors(`{"a":${entry('__proto__', '[1]', 0, 8)}}`, 8),
      'UNSUPPORTED',
      '__proto__',
    ],
    ['a missing dtype', rawSafetensors('{"a":{"shape":[1],"data_offsets":[0,1]}}', 1), 'FORMAT', 'a:', 'dtype'],
    ['a missing shape', rawSafetensors('{"a":{"dtype":"U8","data_offsets":[0,1]}}', 1), 'FORMAT', 'a:', 'shape'],
    [
      'three offsets',
      rawSafetensors('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}', 1),
      'FORMAT',
      'a:',
      'data_offsets',
    ],
    ['an entry that is a number', rawSafetensors('{"a":1}'), 'FORMAT', 'a:'],
    [
      'a name with half a surrogate pair',
      rawSafetensors(`{"\\ud800":${entry('U8', '[1]', 0, 1)}}`, 1),
      'FORMAT',
      'Unicode',
    ],
  ];
  it.each(bad)('refuses %s', async (_what, file, code, ...words) => {
    await expectFailure(() => open(file), code, ...words);
  });

  it('says which formats were tried', async () => {
    await expectFailure(
      () => openCheckpoint(memory(new Uint8Array(100)), { codecs: [safetensors] }),
      'FORMAT',
      'test-file',
      'safetensors',
    );
  });
});
