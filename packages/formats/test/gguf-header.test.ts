import type { ByteSource, StorageType } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { gguf } from '../src/index.js';
import { byteBuilder } from '../src/internal/byte-builder.js';
import { expectFailure, ggufFile, memory, recording } from './support/files.js';

interface RawTensor {
  name: string | Uint8Array;
  ne: (number | bigint)[];
  type: number;
  offset: number | bigint;
}

interface RawGguf {
  magic?: number;
  version?: number;
  tensorCount?: number | bigint;
  entryCount?: number | bigint;
  /** Writes the metadata entries. */
  entries?: ((builder: ReturnType<typeof byteBuilder>) => void)[];
  tensors?: RawTensor[];
  dataBytes?: number;
}

/** Writes a GGUF file by the letter of the format, right or wrong. */
function raw({
  magic = 0x46554747,
  version = 3,
  tensorCount,
  entryCount,
  entries = [],
  tensors = [],
  dataBytes = 0,
}: RawGguf): Uint8Array {
  const builder = byteBuilder();
  builder.u32(magic);
  builder.u32(version);
  builder.u64(tensorCount ?? tensors.length);
  builder.u64(entryCount ?? entries.length);
  for (const write of entries) write(builder);
  for (const { name, ne, type, offset } of tensors) {
    builder.string(name);
    builder.u32(ne.length);
    for (const dimension of ne) builder.u64(dimension);
    builder.u32(type);
    builder.u64(offset);
  }
  const header = builder.finish(32);
  const file = new Uint8Array(header.length + dataBytes);
  file.set(header);
  return file;
}

const entry =
  (key: string | Uint8Array, type: number, ...value: Uint8Array[]) =>
  (builder: ReturnType<typeof byteBuilder>) => {
    builder.string(key);
    builder.u32(type);
    for (const bytes of value) builder.bytes(bytes);
  };
const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
const u64 = (value: bigint) => new Uint8Array(BigUint64Array.of(value).buffer);
const tensor = (fields: Partial<RawTensor> = {}): RawTensor => ({ name: 't', ne: [4], type: 0, offset: 0, ...fields });
const open = (file: Uint8Array) => gguf.open(memory(file));

describe('GGUF reader', () => {
  it('reads a v2 file like a v3 one', async () => {
    for (const version of [2, 3]) {
      const checkpoint = await open(raw({ version, tensors: [tensor({ ne: [2, 3] })], dataBytes: 32 }));
      expect(checkpoint.version).toBe(version);
      expect(checkpoint.tensors.get('t')).toMatchObject({ dtype: 'f32', shape: [3, 2], byteLength: 24 });
    }
  });

  it('reads every ggml type that has an equivalent', async () => {
    const types: [StorageType, number, number, number][] = [
      ['f32', 0, 1, 4],
      ['f16', 1, 1, 2],
      ['bf16', 30, 1, 2],
      ['f64', 28, 1, 8],
      ['i8', 24, 1, 1],
      ['i16', 25, 1, 2],
      ['i32', 26, 1, 4],
      ['i64', 27, 1, 8],
      ['Q4_0', 2, 32, 18],
      ['Q4_1', 3, 32, 20],
      ['Q5_0', 6, 32, 22],
      ['Q5_1', 7, 32, 24],
      ['Q8_0', 8, 32, 34],
      ['Q2_K', 10, 256, 84],
      ['Q3_K', 11, 256, 110],
      ['Q4_K', 12, 256, 144],
      ['Q5_K', 13, 256, 176],
      ['Q6_K', 14, 256, 210],
    ];
    for (const [dtype, type, block, bytes] of types) {
      const file = raw({ tensors: [tensor({ ne: [block * 2, 3], type })], dataBytes: bytes * 6 });
      const opened = (await open(file)).tensors.get('t');
      expect(opened).toMatchObject({ dtype, shape: [3, block * 2], byteLength: bytes * 6 });
      expect((await opened?.read({ start: 1, end: 2 }))?.bytes.length).toBe(bytes * 2);
    }
  });

  it('reads only rows that are asked for, and of vectors only whole blocks', async () => {
    const source = recording(memory(raw({ tensors: [tensor({ ne: [64, 5], type: 8 })], dataBytes: 5 * 68 })));
    const checkpoint = await gguf.open(source);
    const dataStart = source.size - 5 * 68;
    source.ranges.length = 0;
    await checkpoint.tensors.get('t')?.read({ start: 2, end: 4 });
    expect(source.ranges).toEqual([[dataStart + 2 * 68, dataStart + 4 * 68]]);
    const vector = (await open(raw({ tensors: [tensor({ ne: [64], type: 8 })], dataBytes: 68 }))).tensors.get('t');
    expect((await vector?.read({ start: 32, end: 64 }))?.bytes.length).toBe(34);
    await expectFailure(() => vector?.read({ start: 8, end: 64 }), 'RANGE', 't:', 'block');
  });

  it('fetches the header and not the weights', async () => {
    // A source that claims a terabyte of weights behind a real header.
    const header = raw({ tensors: [tensor({ ne: [1 << 20, 1 << 18] })] });
    const size = header.length + 2 ** 40;
    let fetched = 0;
    const source: ByteSource = {
      name: 'large',
      size,
      async read(start, end) {
        fetched += end - start;
        const bytes = new Uint8Array(end - start);
        bytes.set(header.subarray(start, Math.min(end, header.length)));
        return bytes;
      },
    };
    const checkpoint = await gguf.open(source);
    expect(checkpoint.tensors.get('t')?.byteLength).toBe(2 ** 40);
    expect(fetched).toBeLessThan(1 << 20);
    await checkpoint.tensors.get('t')?.read({ start: (1 << 18) - 1, end: 1 << 18 });
  });

  it('reads headers longer than its window', async () => {
    const tokens = Array.from({ length: 128_000 }, (_, i) => `token ${i} ${'é'.repeat(i % 5)}`);
    const scores = Float32Array.from({ length: 128_000 }, (_, i) => -i);
    const file = await ggufFile(
      [{ name: 'w', dtype: 'f32', shape: [2] }],
      [
        { key: 'tokenizer.ggml.tokens', type: 'string[]', value: tokens },
        { key: 'tokenizer.ggml.scores', type: 'f32[]', value: scores },
      ],
    );
    const source = recording(memory(file));
    const checkpoint = await gguf.open(source);
    expect(checkpoint.metadata.get('tokenizer.ggml.tokens')).toEqual(tokens);
    expect(checkpoint.metadata.get('tokenizer.ggml.scores')).toEqual(scores);
    expect(source.ranges.length).toBeLessThan(20);
  });

  const zeros = (bytes: number) => ({ dataBytes: bytes });
  const bad: [string, Uint8Array, string, ...string[]][] = [
    ['an empty file', new Uint8Array(0), 'FORMAT', 'magic'],
    ['another magic', raw({ magic: 0x12345678 }), 'FORMAT', 'GGUF'],
    ['version 1', raw({ version: 1 }), 'UNSUPPORTED', 'version 1'],
    ['version 0', raw({ version: 0 }), 'UNSUPPORTED', 'version 0'],
    ['version 4', raw({ version: 4 }), 'UNSUPPORTED', 'version 4'],
    ['big-endian files', raw({ version: 0x03000000 }), 'UNSUPPORTED', 'big-endian'],
    ['absurd tensor counts', raw({ tensorCount: 2n ** 62n }), 'FORMAT', 'tensors', 'do not fit'],
    ['absurd entry counts', raw({ entryCount: 2n ** 64n - 1n }), 'FORMAT', 'metadata entries'],
    [
      'an absurd key length',
      raw({ entryCount: 1, entries: [(b) => b.bytes(new Uint8Array(64).fill(0x7f))] }),
      'FORMAT',
      'key',
    ],
    ['an empty key', raw({ entries: [entry('', 4, u32(1))] }), 'FORMAT', 'empty', 'offset 24'],
    ['a key that is not UTF-8', raw({ entries: [entry(Uint8Array.of(0xff), 4, u32(1))] }), 'FORMAT', 'UTF-8'],
    ['duplicate keys', raw({ entries: [entry('k', 4, u32(1)), entry('k', 4, u32(1))] }), 'FORMAT', 'k occurs twice'],
    ['an unknown metadata type', raw({ entries: [entry('k', 13, u32(1))] }), 'FORMAT', 'k:', '13'],
    ['an unknown array type', raw({ entries: [entry('k', 9, u32(99), u64(1n), u32(1))] }), 'FORMAT', 'k:', '99'],
    [
      'nested arrays',
      raw({ entries: [entry('k', 9, u32(9), u64(1n), u32(4), u64(0n))] }),
      'UNSUPPORTED',
      'k:',
      'arrays of arrays',
    ],
    ['an array longer than the file', raw({ entries: [entry('k', 9, u32(4), u64(1n << 40n))] }), 'FORMAT', 'k:'],
    ['a string longer than the file', raw({ entries: [entry('k', 8, u64(1n << 50n))] }), 'FORMAT', 'k'],
    [
      'a string array with an absurd item',
      raw({ entries: [entry('k', 9, u32(8), u64(1n), u64(1n << 33n))] }),
      'FORMAT',
      'k:',
    ],
    ['alignment 0', raw({ entries: [entry('general.alignment', 4, u32(0))] }), 'FORMAT', 'general.alignment'],
    ['alignment 3', raw({ entries: [entry('general.alignment', 4, u32(3))] }), 'FORMAT', 'power of two'],
    ['alignment 48', raw({ entries: [entry('general.alignment', 4, u32(48))] }), 'FORMAT', 'power of two'],
    ['alignment of another type', raw({ entries: [entry('general.alignment', 5, u32(32))] }), 'FORMAT', 'i32'],
    [
      'five dimensions',
      raw({ tensors: [tensor({ ne: [1, 1, 1, 1, 1] })], ...zeros(32) }),
      'FORMAT',
      't:',
      '5 dimensions',
    ],
    [
      'a negative dimension',
      raw({ tensors: [tensor({ ne: [2n ** 64n - 1n] })], ...zeros(32) }),
      'FORMAT',
      't:',
      'dimension',
    ],
    ['a product overflow', raw({ tensors: [tensor({ ne: [2n ** 31n, 2n ** 31n, 4] })] }), 'SHAPE', 't:'],
    [
      'rows that cut a block',
      raw({ tensors: [tensor({ ne: [33], type: 8 })], ...zeros(64) }),
      'SHAPE',
      't:',
      'Q8_0',
      '32',
    ],
    [
      'a type that ggml never stores',
      raw({ tensors: [tensor({ ne: [256], type: 15 })], ...zeros(320) }),
      'UNSUPPORTED',
      't:',
      '15',
      'Q8_K',
    ],
    ['a removed type', raw({ tensors: [tensor({ ne: [32], type: 4 })], ...zeros(96) }), 'UNSUPPORTED', 'removed'],
    ['an unknown type', raw({ tensors: [tensor({ type: 1000 })], ...zeros(96) }), 'UNSUPPORTED', '1000'],
    ['a name of 64 bytes', raw({ tensors: [tensor({ name: 'x'.repeat(64) })], ...zeros(32) }), 'FORMAT', '63'],
    [
      'a name that is not UTF-8',
      raw({ tensors: [tensor({ name: Uint8Array.of(0x61, 0xff) })], ...zeros(32) }),
      'FORMAT',
      'tensor 0',
      'UTF-8',
    ],
    ['duplicate names', raw({ tensors: [tensor(), tensor({ offset: 32 })], ...zeros(64) }), 'FORMAT', 't occurs twice'],
    [
      'a gap',
      raw({ tensors: [tensor(), tensor({ name: 'u', offset: 64 })], ...zeros(96) }),
      'FORMAT',
      'u:',
      'expected 32',
    ],
    [
      'an overlap',
      raw({ tensors: [tensor(), tensor({ name: 'u', offset: 0 })], ...zeros(96) }),
      'FORMAT',
      'u:',
      'expected 32',
    ],
    [
      'an unaligned offset',
      raw({ tensors: [tensor(), tensor({ name: 'u', offset: 16 })], ...zeros(96) }),
      'FORMAT',
      'u:',
    ],
    ['a file without its last bytes', raw({ tensors: [tensor()], ...zeros(15) }), 'FORMAT', 't', 'cut off'],
  ];
  it.each(bad)('refuses %s', async (_what, file, code, ...words) => {
    await expectFailure(() => open(file), code, ...words);
  });

  it('takes a name of 63 bytes, a last tensor without padding, no tensors at all', async () => {
    expect((await open(raw({ tensors: [tensor({ name: 'x'.repeat(63) })], dataBytes: 16 }))).tensors.size).toBe(1);
    expect((await open(raw({ entries: [entry('k', 4, u32(7))] }))).metadata.get('k')).toBe(7);
  });
});
