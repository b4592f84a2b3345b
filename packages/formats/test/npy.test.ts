import {
  type ByteSource,
  decode,
  encode,
  isHalftoneError,
  type PackedTensor,
  type TensorEntry,
} from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatCodecChecks } from '../src/conformance.js';
import { arrayBufferSource, memorySink, openCheckpoint, safetensors } from '../src/index.js';
import { npy, npyLayout, npz, npzCodec, writeNpy, writeNpz } from '../src/npy.js';
import { entryBytes, expectFailure, memory, recording } from './support/files.js';
import { npyFile, zipFile } from './support/zip-files.js';

const dictionary = (descr: string, shape: string, fortran = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;

async function readNpy(file: Uint8Array): Promise<PackedTensor> {
  const { tensors } = await npy.open(memory(file));
  return (tensors.get('data') as { read(): Promise<PackedTensor> }).read();
}

async function savedNpy(entry: TensorEntry): Promise<Uint8Array> {
  const sink = memorySink();
  await writeNpy(sink, entry, { data: entryBytes });
  return sink.bytes();
}

async function savedNpz(entries: readonly TensorEntry[]): Promise<Uint8Array> {
  const sink = memorySink();
  await writeNpz(sink, entries, { data: entryBytes });
  return sink.bytes();
}

const bytesOf = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const matrix = npyFile(dictionary('<f4', '(2, 3)'), bytesOf(1, 2, 3, 4, 5, 6));

describe('npy', () => {
  it('reads every type in both byte orders', async () => {
    const types = [
      ['b1', 'bool', [1, 0]],
      ['i1', 'i8', [-2, 3]],
      ['u1', 'u8', [254, 3]],
      ['i2', 'i16', [-2, 300]],
      ['u2', 'u16', [65534, 300]],
      ['i4', 'i32', [-2, 70000]],
      ['u4', 'u32', [2 ** 32 - 2, 7]],
      ['i8', 'i64', [-2, 7]],
      ['u8', 'u64', [2 ** 40, 7]],
      ['f2', 'f16', [-1.5, 65504]],
      ['f4', 'f32', [-1.5, 1e-40]],
      ['f8', 'f64', [-1.5, 1e300]],
    ] as const;
    for (const [kind, dtype, values] of types) {
      const expected = encode(values, dtype);
      const size = expected.bytes.length / 2;
      const reversed = [...expected.bytes.slice(0, size).reverse(), ...expected.bytes.slice(size).reverse()];
      const little = await readNpy(npyFile(dictionary(size > 1 ? `<${kind}` : `|${kind}`, '(2,)'), expected.bytes));
      const big = await readNpy(npyFile(dictionary(`>${kind}`, '(2,)'), reversed));
      expect(little).toEqual(expected);
      expect(big).toEqual(expected);
    }
  });

  it('reads scalars, empty arrays, all versions and any order of keys', async () => {
    expect(await readNpy(npyFile(dictionary('<f4', '()'), bytesOf(7)))).toMatchObject({ shape: [] });
    expect(await readNpy(npyFile(dictionary('<f4', '(0, 3)')))).toMatchObject({ shape: [0, 3] });
    expect(await readNpy(npyFile(dictionary('<f4', '(3L, 0L)')))).toMatchObject({ shape: [3, 0] });
    expect(await readNpy(npyFile('{"shape":(2,),"fortran_order":False,"descr":"|u1"}', [1, 2]))).toMatchObject({
      shape: [2],
    });
    for (const version of [2, 3]) {
      const file = npyFile(dictionary('<f4', '(2, 3)'), bytesOf(1, 2, 3, 4, 5, 6), version);
      expect(decode((await readNpy(file)) as PackedTensor<'f32'>)).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
    }
    const wide = npyFile(`${dictionary('|u1', '(2,)')}${' '.repeat(5000)}`, [3, 4]);
    expect((await readNpy(wide)).bytes).toEqual(Uint8Array.of(3, 4));
  });

  it('transposes column-major arrays', async () => {
    const file = npyFile(dictionary('<f4', '(2, 3)', 'True'), bytesOf(1, 4, 2, 5, 3, 6));
    expect(decode((await readNpy(file)) as PackedTensor<'f32'>)).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
        fc.constantFrom('<', '>'),
        fc.nat(),
        async (shape, order, cut) => {
          const count = shape.reduce((product, n) => product * n, 1);
          const data = new Uint8Array(2 * count);
          const indices = shape.map(() => 0);
          // In file order the first index runs fastest; each element is its row-major place.
          for (let at = 0; at < count; at++) {
            const place = indices.reduce((sum, index, axis) => sum * (shape[axis] as number) + index, 0);
            new DataView(data.buffer).setUint16(2 * at, place, order === '<');
            for (let axis = 0; axis < shape.length && ++(indices[axis] as number) === shape[axis]; axis++)
              indices[axis] = 0;
          }
          const tuple = shape.length === 1 ? `(${shape},)` : `(${shape.join(', ')})`;
          const { tensors } = await npy.open(memory(npyFile(dictionary(`${order}u2`, tuple, 'True'), data)));
          const tensor = tensors.get('data');
          const whole = (await tensor?.read()) as PackedTensor;
          expect(whole.shape).toEqual(shape);
          expect([...new Uint16Array(whole.bytes.slice().buffer)]).toEqual([...Array(count).keys()]);
          const start = shape.length === 0 ? 0 : cut % ((shape[0] as number) + 1);
          const end = shape[0] ?? 1;
          const rest = (await tensor?.read({ start, end })) as PackedTensor;
          expect(rest.bytes).toEqual(whole.bytes.slice(whole.bytes.length - rest.bytes.length));
          expect(rest.shape).toEqual(shape.length === 0 ? [] : [end - start, ...shape.slice(1)]);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('writes the bytes that numpy writes', async () => {
    const file = await savedNpy({ name: 'any', dtype: 'f32', shape: [2, 3] });
    // np.save, numpy 2.4: room for the first dimension to grow, then spaces up to 128 bytes.
    const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.padEnd(117);
    const expected = [0x93, ...Buffer.from('NUMPY'), 1, 0, 118, 0, ...Buffer.from(header), 0x0a];
    expect([...file.subarray(0, 128)]).toEqual(expected);
    expect(file.length).toBe(128 + 24);
    const shapes: [number[], string][] = [
      [[], '()'],
      [[7], '(7,)'],
    ];
    for (const [shape, tuple] of shapes) {
      const text = new TextDecoder('latin1').decode(await savedNpy({ name: 'any', dtype: 'bool', shape }));
      expect(text).toContain(`{'descr': '|b1', 'fortran_order': False, 'shape': ${tuple}, }`);
    }
    // The room counts before alignment: this text alone would fit in 128 bytes.
    expect(npyLayout({ name: 'any', dtype: 'f32', shape: Array(20).fill(1) }).header.length).toBe(192);
  });

  it('reads back what it writes', async () => {
    for (const dtype of ['bool', 'i8', 'i16', 'i32', 'i64', 'u8', 'u16', 'u32', 'u64', 'f16', 'f32', 'f64'] as const) {
      for (const shape of [[], [5], [3, 2], [2, 0, 3]]) {
        const entry = { name: 'x', dtype, shape };
        expect(await readNpy(await savedNpy(entry))).toEqual({
          kind: 'packed',
          dtype,
          shape,
          bytes: entryBytes(entry),
        });
      }
    }
    await expectFailure(() => savedNpy({ name: 'x', dtype: 'bf16', shape: [2] }), 'UNSUPPORTED', 'bf16');
    await expectFailure(() => savedNpy({ name: 'x', dtype: 'Q4_0', shape: [32] }), 'UNSUPPORTED', 'Q4_0');
  });

  it('names the tensor after the file', async () => {
    const { tensors } = await npy.open(arrayBufferSource(matrix, '/some/where/weights.npy'));
    expect([...tensors.keys()]).toEqual(['weights']);
  });

  it.each([
    [dictionary('|O', '(1,)'), 'UNSUPPORTED', 'objects'],
    [`{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }`, 'UNSUPPORTED', 'structured'],
    [dictionary('<U4', '(1,)'), 'UNSUPPORTED', '<U4'],
    [dictionary('<c8', '(1,)'), 'UNSUPPORTED', '<c8'],
    [dictionary('<V2', '(1,)'), 'UNSUPPORTED', '<V2'],
    [dictionary('<f16', '(1,)'), 'UNSUPPORTED', '<f16'],
    [dictionary('=f4', '(1,)'), 'UNSUPPORTED', '=f4'],
    [dictionary('|f4', '(1,)'), 'FORMAT', 'byte order'],
    [dictionary('<f4', '(1)'), 'FORMAT', 'tuple'],
    [dictionary('<f4', '(1,,)'), 'FORMAT', 'shape'],
    [dictionary('<f4', '(-1,)'), 'FORMAT', 'character'],
    [dictionary('<f4', '(2.0,)'), 'FORMAT', 'character'],
    [dictionary('<f4', '(9999999999999999999,)'), 'FORMAT', 'too large'],
    [dictionary('<f4', '(9007199254740991, 9007199254740991)'), 'SHAPE', 'elements'],
    [dictionary('<f4', `(${'1, '.repeat(65)})`), 'FORMAT', '65 dimensions'],
    [dictionary('<f4', '(2,)', 'None'), 'FORMAT', 'character'],
    [dictionary('<f4', '(1,)', '__import__("os")'), 'FORMAT', 'character'],
    [`{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}`, 'FORMAT', 'duplicate'],
    [`{'descr': '<f4', 'fortran_order': False}`, 'FORMAT', 'exactly'],
    [`{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': True}`, 'FORMAT', 'exactly'],
    [`{'__proto__': '<f4', 'fortran_order': False, 'shape': (1,)}`, 'FORMAT', 'exactly'],
    [`{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} 3`, 'FORMAT', 'character'],
    ['', 'FORMAT', 'character'],
    ['[', 'FORMAT', 'dictionary'],
  ])('refuses the header %s', async (text, code, word) => {
    await expectFailure(() => readNpy(npyFile(text, new Uint8Array(4))), code, word);
  });

  it('refuses files that are cut off, too long, or of another kind', async () => {
    await expectFailure(() => readNpy(matrix.subarray(0, matrix.length - 1)), 'FORMAT', 'cut off');
    await expectFailure(() => readNpy(Uint8Array.of(...matrix, 0)), 'FORMAT', 'left over');
    await expectFailure(() => readNpy(matrix.subarray(0, 100)), 'FORMAT', 'header');
    await expectFailure(() => readNpy(matrix.subarray(0, 9)), 'FORMAT', 'too few');
    await expectFailure(() => readNpy(new Uint8Array(200)), 'FORMAT', 'magic');
    await expectFailure(
      () => readNpy(Uint8Array.from(matrix, (byte, i) => (i === 6 ? 4 : byte))),
      'UNSUPPORTED',
      '4.0',
    );
    const huge = npyFile(dictionary('<f4', '(1,)'), bytesOf(1), 2);
    huge.set([255, 255, 255, 255], 8);
    await expectFailure(() => readNpy(huge), 'FORMAT', 'header length');
  });
});

describe('npz', () => {
  const second = npyFile(
    dictionary('>i2', '(3, 50)', 'True'),
    new Uint8Array(300).map((_, i) => i % 7),
  );
  const mixed = () =>
    zipFile([
      { name: 'stored.npy', bytes: matrix },
      { name: 'layer/deflated.npy', bytes: second, deflate: true },
      { name: 'like numpy.npy', bytes: matrix, zip64: 'local' },
      { name: 'large.npy', bytes: matrix, deflate: true, zip64: 'directory' },
    ]);

  it('reads stored and deflated members, with zip64 fields in either place', async () => {
    const checkpoint = await npz.open(memory(mixed()));
    expect([...checkpoint.tensors.keys()]).toEqual(['stored', 'layer/deflated', 'like numpy', 'large']);
    for (const name of ['stored', 'like numpy', 'large']) {
      const tensor = checkpoint.tensors.get(name);
      expect(decode((await tensor?.read({ start: 1, end: 2 })) as PackedTensor<'f32'>)).toEqual(
        Float32Array.of(4, 5, 6),
      );
    }
    const deflated = await checkpoint.tensors.get('layer/deflated')?.read();
    expect(deflated).toEqual(await readNpy(second));
  });

  it('reads only the rows of a stored member', async () => {
    const rows = npyFile(dictionary('|u1', '(10000, 100)'), new Uint8Array(1_000_000).fill(3));
    const source = recording(memory(zipFile([{ name: 'a.npy', bytes: rows }])));
    const { tensors } = await npz.open(source);
    expect(source.ranges.reduce((sum, [start, end]) => sum + end - start, 0)).toBeLessThan(70_000);
    source.ranges.length = 0;
    await tensors.get('a')?.read({ start: 500, end: 501 });
    expect(source.ranges.map(([start, end]) => end - start)).toEqual([100]);
  });

  it('reads back what it writes', async () => {
    const entries: TensorEntry[] = [
      { name: 'model.w', dtype: 'f16', shape: [3, 5] },
      { name: '../odd name ö', dtype: 'i64', shape: [] },
      { name: '', dtype: 'u8', shape: [0, 4] },
    ];
    const file = await savedNpz(entries);
    expect(await savedNpz(entries)).toEqual(file);
    const { tensors } = await npz.open(memory(file));
    expect([...tensors.keys()]).toEqual(entries.map(({ name }) => name));
    for (const entry of entries) {
      expect(await tensors.get(entry.name)?.read()).toEqual({
        kind: 'packed',
        ...entry,
        name: undefined,
        bytes: entryBytes(entry),
      });
    }
    expect((await npz.open(memory(await savedNpz([])))).tensors.size).toBe(0);
  });

  it('leaves nothing behind when writing fails', async () => {
    const entry: TensorEntry = { name: 'a', dtype: 'u8', shape: [4] };
    const write = async (entries: TensorEntry[], data: () => Uint8Array) => {
      const sink = memorySink();
      try {
        await writeNpz(sink, entries, { data });
      } finally {
        await expectFailure(() => sink.bytes(), 'IO');
      }
    };
    await expectFailure(() => write([entry], () => new Uint8Array(3)), 'RANGE', 'a: 3 bytes');
    await expectFailure(() => write([entry], () => new Uint8Array(5)), 'RANGE', 'a: 5 bytes');
    await expectFailure(() => write([entry, entry], () => new Uint8Array(4)), 'FORMAT', 'one name');
    await expectFailure(() => write([{ ...entry, dtype: 'bf16' }], () => new Uint8Array(8)), 'UNSUPPORTED', 'bf16');
  });

  it('refuses bombs, and sizes that lie', async () => {
    const zeros = npyFile(dictionary('|u1', '(20000000,)'), new Uint8Array(20_000_000));
    const bomb = zipFile([{ name: 'a.npy', bytes: zeros, deflate: true }]);
    const tensor = (await npz.open(memory(bomb))).tensors.get('a');
    await expectFailure(() => tensor?.read(), 'UNSUPPORTED', 'maxExpansion');
    expect((await tensor?.read({ start: 5, end: 9 }))?.bytes).toEqual(new Uint8Array(4));
    const willing = await npzCodec({ maxExpansion: 2000 }).open(memory(bomb));
    expect((await willing.tensors.get('a')?.read())?.bytes.length).toBe(20_000_000);

    const lie = (size: number) => zipFile([{ name: 'a.npy', bytes: matrix, deflate: true, claim: { size } }]);
    await expectFailure(() => npz.open(memory(lie(2 ** 31))), 'FORMAT', 'cannot become');
    for (const size of [matrix.length - 1, matrix.length + 1]) {
      await expectFailure(() => npz.open(memory(lie(size))), 'FORMAT');
    }
    // The array and the directory agree on more than the stream holds.
    const longer = npyFile(dictionary('|u1', '(500,)'), new Uint8Array(400));
    const short = zipFile([{ name: 'a.npy', bytes: longer, deflate: true, claim: { size: longer.length + 100 } }]);
    await expectFailure(async () => (await npz.open(memory(short))).tensors.get('a')?.read(), 'FORMAT', 'a');
  });

  it('notices a damaged stream by its sum', async () => {
    const noise = npyFile(
      dictionary('|u1', '(500,)'),
      new Uint8Array(500).map((_, i) => (i * 167 + (i >> 3) * 59) % 251),
    );
    const file = zipFile([{ name: 'a.npy', bytes: noise, deflate: true }]);
    let noticed = 0;
    for (let at = 200; at < 500; at += 10) {
      const damaged = file.slice();
      damaged[at] = (damaged[at] as number) ^ 0x10;
      try {
        const read = await (await npz.open(memory(damaged))).tensors.get('a')?.read();
        expect(read?.bytes).toEqual(noise.slice(128));
      } catch (error) {
        expect(isHalftoneError(error)).toBe(true);
        noticed++;
      }
    }
    expect(noticed).toBe(30);
  });

  it('refuses what is not an archive of arrays', async () => {
    const open = (...members: Parameters<typeof zipFile>[0]) => npz.open(memory(zipFile(members)));
    await expectFailure(() => open({ name: 'archive/data.pkl', bytes: Uint8Array.of(1) }), 'UNSUPPORTED', 'data.pkl');
    await expectFailure(
      () => open({ name: 'a.npy', bytes: matrix, claim: { method: 12 } }),
      'UNSUPPORTED',
      'method 12',
    );
    await expectFailure(() => open({ name: 'a.npy', bytes: matrix, claim: { flags: 1 } }), 'UNSUPPORTED', 'encrypted');
    await expectFailure(() => open({ name: 'a.npy', bytes: matrix, claim: { offset: 1 } }), 'FORMAT', 'a.npy');
    await expectFailure(() => open({ name: 'a.npy', bytes: matrix, claim: { offset: 1e9 } }), 'FORMAT');
    const twice = { name: 'a.npy', bytes: matrix };
    await expectFailure(() => open(twice, twice), 'FORMAT', 'this name');
    await expectFailure(() => open(twice, { ...twice, name: 'b.npy', claim: { offset: 0 } }), 'FORMAT', 'overlaps');
    await expectFailure(() => npz.open(memory(Uint8Array.of(0x50, 0x4b, 3, 4))), 'FORMAT');
  });

  it('opens an archive over 4 GiB by its directory', async () => {
    // A virtual file: one member of 5 GiB of zeros before a small one, then a zip64 directory.
    const count = 5 * 2 ** 30;
    const header = npyFile(dictionary('|u1', `(${count},)`));
    const local = (name: string) => zipFile([{ name, bytes: new Uint8Array(0) }]).subarray(0, 30 + name.length);
    const u64 = (...values: number[]) => [...new Uint8Array(BigUint64Array.from(values, BigInt).buffer)];
    const bigEnd = 35 + header.length + count;
    const directoryStart = bigEnd + 39 + matrix.length;
    const central = (name: string, extra: number[]) => {
      const bytes = new Uint8Array(46);
      const view = new DataView(bytes.buffer);
      view.setUint32(0, 0x02014b50, true);
      view.setUint16(4, 45, true);
      view.setUint16(6, 45, true);
      for (const at of [20, 24, 42]) view.setUint32(at, 2 ** 32 - 1, true);
      view.setUint16(28, name.length, true);
      view.setUint16(30, extra.length + 4, true);
      return [...bytes, ...Buffer.from(name), 1, 0, extra.length, 0, ...extra];
    };
    const size = header.length + count;
    const directory = [
      ...central('a.npy', u64(size, size, 0)),
      ...central('small.npy', u64(matrix.length, matrix.length, bigEnd)),
    ];
    const zip64End = [
      0x50,
      0x4b,
      6,
      6,
      ...u64(44),
      45,
      0,
      45,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      ...u64(2, 2, directory.length, directoryStart),
    ];
    const locator = [0x50, 0x4b, 6, 7, 0, 0, 0, 0, ...u64(directoryStart + directory.length), 1, 0, 0, 0];
    const ends = [0x50, 0x4b, 5, 6, 0, 0, 0, 0, ...Array(12).fill(255), 0, 0];
    const segments: [number, Uint8Array][] = [
      [0, local('a.npy')],
      [35, header],
      [bigEnd, local('small.npy')],
      [bigEnd + 39, matrix],
      [directoryStart, Uint8Array.from([...directory, ...zip64End, ...locator, ...ends])],
    ];
    const last = segments[4] as [number, Uint8Array];
    const source: ByteSource = {
      name: 'virtual',
      size: last[0] + last[1].length,
      async read(start, end) {
        const bytes = new Uint8Array(end - start);
        for (const [offset, segment] of segments) {
          const [from, to] = [Math.max(start, offset), Math.min(end, offset + segment.length)];
          if (from < to) bytes.set(segment.subarray(from - offset, to - offset), from - start);
        }
        return bytes;
      },
    };
    const { tensors } = await npz.open(source);
    expect(tensors.get('a')).toMatchObject({ shape: [count], byteLength: count });
    expect((await tensors.get('a')?.read({ start: count - 2, end: count }))?.bytes).toEqual(new Uint8Array(2));
    expect((await tensors.get('small')?.read())?.bytes).toEqual(matrix.slice(128));
  });

  it('is told apart from array files and others', async () => {
    const codecs = [npy, npz, safetensors];
    expect((await openCheckpoint(memory(matrix), { codecs })).format).toBe('npy');
    expect((await openCheckpoint(memory(mixed()), { codecs })).format).toBe('npz');
    expect(npz.sniff(matrix) || npy.sniff(mixed())).toBe(false);
  });

  const cases = [
    [npy, matrix, 1500],
    [npy, second, 1500],
    [npz, mixed(), 400],
  ] as const;
  for (const [codec, file, mutations] of cases) {
    for (const { name, run } of formatCodecChecks(codec, { file, mutations }))
      it(`${name} (${file.length} bytes)`, run);
  }
});
