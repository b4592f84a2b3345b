import { dequantize, encode, type JsonObject, type QuantizedTensor, tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { mlx } from '../../src/layouts.js';
import { bitStream } from '../support/bit-stream.js';
import { expectFailure } from '../support/files.js';
import { openTensors } from '../support/layout-file.js';
import { expectRoundTrip, expectSameFloats, readWeight } from '../support/layouts.js';
import { floats, stored, storedFloats, wholeNumbers } from '../support/sample-weights.js';

const MODULE = 'model.layers.0.mlp.up_proj';
const NAME = `${MODULE}.weight`;
const f = Math.fround;

function config(bits: number, groupSize: number, rest: JsonObject = {}): JsonObject {
  return { quantization: { group_size: groupSize, bits, ...rest } };
}

/** A file with a weight, packed bit by bit, and the values of MLX's formula. */
function affineFile(bits: number, groupSize: number, leading: readonly number[], columns: number, seed = 2) {
  const rows = leading.reduce((a, b) => a * b, 1);
  const groups = columns / groupSize;
  const codes = wholeNumbers(rows * columns, 2 ** bits, seed);
  const rowBytes = (columns * bits) / 8;
  const bytes = new Uint8Array(rows * rowBytes);
  for (let row = 0; row < rows; row++) {
    bytes.set(bitStream(codes.slice(row * columns, (row + 1) * columns).map((code) => [code, bits])), row * rowBytes);
  }
  const scales = floats(rows * groups, seed);
  const biases = floats(rows * groups, seed + 1);
  return {
    tensors: {
      [NAME]: stored('u32', [...leading, rowBytes / 4], bytes),
      [`${MODULE}.scales`]: storedFloats(scales, [...leading, groups]),
      [`${MODULE}.biases`]: storedFloats(biases, [...leading, groups]),
    },
    values: codes.map((code, i) =>
      f(f(code * scales[Math.floor(i / groupSize)]!) + biases[Math.floor(i / groupSize)]!),
    ),
  };
}

function affine(bits: number, groupSize: number, shape: [number, number], parts: Partial<QuantizedTensor['parts']>) {
  const [rows, columns] = shape;
  const codes = Uint8Array.from(wholeNumbers(rows * columns, 2 ** bits, 9));
  const symmetric = parts.zeros === undefined && parts.offsets === undefined;
  return {
    kind: 'quantized',
    shape,
    scheme: {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits, signed: false, symmetric },
      granularity: { type: 'group', axis: 1, size: groupSize },
    },
    parts: { codes: tensor(codes, shape), ...parts },
  } as const satisfies QuantizedTensor;
}

describe('mlx affine', () => {
  it('reads hand-packed words: three bits cross bytes and words', async () => {
    // 0 .. 7, eight codes in three bytes: octal 76543210.
    const bytes = Array.from({ length: 4 }, () => [0x88, 0xc6, 0xfa]).flat();
    const tensors = {
      [NAME]: stored('u32', [1, 3], bytes),
      [`${MODULE}.scales`]: encode([-0.5], 'bf16', [1, 1]),
      [`${MODULE}.biases`]: encode([3], 'bf16', [1, 1]),
    };
    const q = await readWeight(mlx, tensors, NAME, config(3, 32));
    expect([...dequantize(q)].slice(0, 9)).toEqual([3, 2.5, 2, 1.5, 1, 0.5, 0, -0.5, 3]);
    await expectRoundTrip(mlx, q);
  });

  it.each([2, 3, 4, 5, 6, 8])('reads and writes %i bits in all group sizes', async (bits) => {
    for (const groupSize of [32, 64, 128]) {
      const { tensors, values } = affineFile(bits, groupSize, [3], 2 * groupSize);
      const q = await readWeight(mlx, tensors, NAME, config(bits, groupSize));
      expectSameFloats(dequantize(q), values);
      const { tensors: written, config: json } = await expectRoundTrip(mlx, q);
      expect(Object.fromEntries(written)).toEqual(tensors);
      const quantization = { group_size: groupSize, bits };
      expect(json).toEqual({ quantization, quantization_config: quantization });
    }
  });

  it('reads and writes experts, and weights without rows', async () => {
    for (const leading of [[2, 3], [0]]) {
      const { tensors, values } = affineFile(5, 32, leading, 96);
      const q = await readWeight(mlx, tensors, NAME, config(5, 32));
      expect(q.shape).toEqual([...leading, 96]);
      expectSameFloats(dequantize(q), values);
      await expectRoundTrip(mlx, q);
    }
  });

  it('keeps negative, infinite, denormal and missing numbers in scales and biases', async () => {
    const odd = [-1, Infinity, Number.NaN, 1e-45, -0, 3e38];
    const tensors = {
      ...affineFile(4, 32, [6], 32).tensors,
      [`${MODULE}.scales`]: storedFloats(odd, [6, 1]),
      [`${MODULE}.biases`]: storedFloats([...odd].reverse(), [6, 1]),
    };
    await expectRoundTrip(mlx, await readWeight(mlx, tensors, NAME, config(4, 32)));
  });

  it('writes integer zeros as biases in the narrowest type that holds them', async () => {
    const halves = encode(
      floats(6, 4).map((x) => Math.abs(x) + 0.1),
      'f16',
      [3, 2],
    );
    const symmetric = affine(4, 64, [3, 128], { scales: halves });
    const signed = { ...symmetric, scheme: { ...symmetric.scheme, grid: { ...symmetric.scheme.grid, signed: true } } };
    const codes = tensor(
      Int8Array.from(wholeNumbers(384, 16), (n) => n - 8),
      [3, 128],
    );
    const eight = await expectRoundTrip(mlx, { ...signed, parts: { ...symmetric.parts, codes } });
    expect(eight.tensors.get(`${MODULE}.biases`)?.dtype).toBe('f16');
    expect([...dequantize(eight.read)]).not.toContain(Number.NaN);
    const zeros = tensor(Uint8Array.of(1, 3, 7, 11, 0, 15), [3, 2]);
    const seven = await expectRoundTrip(mlx, affine(4, 64, [3, 128], { scales: halves, zeros }));
    expect(seven.tensors.get(`${MODULE}.biases`)?.dtype).toBe('f32');
  });

  it('repeats the parameters of coarser groups, widens codes, and refuses what rounds', async () => {
    const rows = await expectRoundTrip(mlx, affine(3, 192, [2, 192], { scales: tensor(floats(2), [2, 1]) }));
    expect(rows.tensors.get(`${MODULE}.scales`)?.shape).toEqual([2, 3]);
    const wide = await expectRoundTrip(mlx, affine(7, 256, [2, 512], { scales: tensor(floats(4), [2, 2]) }));
    expect(wide.config['quantization']).toEqual({ group_size: 128, bits: 8 });
    const split = (q: QuantizedTensor, name = NAME) => mlx.writer?.split(name, q);
    const scales = tensor(Float32Array.of(f(0.1), f(0.3)), [2, 1]);
    const zeros = tensor(Uint8Array.of(5, 3), [2, 1]);
    await expectFailure(() => split(affine(4, 32, [2, 32], { scales, zeros })), 'UNSUPPORTED', NAME, 'rounded');
    await expectFailure(
      () => split(affine(4, 16, [2, 32], { scales: tensor(floats(4), [2, 2]) })),
      'UNSUPPORTED',
      '16',
    );
    await expectFailure(() => split(affine(4, 40, [2, 40], { scales })), 'UNSUPPORTED', 'rows of 40');
    await expectFailure(() => split(affine(9, 32, [2, 32], { scales })), 'UNSUPPORTED', '9 bits');
    await expectFailure(() => split(affine(4, 32, [2, 32], { scales }), 'weights'), 'UNSUPPORTED', '.weight');
    const groupIndex = Uint32Array.from({ length: 64 }, (_, i) => (i + 1) % 2);
    const shuffled = affine(4, 32, [1, 64], { scales: tensor(floats(2), [1, 2]), groupIndex });
    await expectFailure(() => split(shuffled), 'UNSUPPORTED', 'order');
  });
});

describe('mlx float modes', () => {
  const e2m1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
  const e4m3 = (code: number): number => {
    const [sign, e, m] = [code & 128 ? -1 : 1, (code >> 3) & 15, code & 7];
    if (e === 15 && m === 7) return Number.NaN;
    return sign * (e === 0 ? m * 2 ** -9 : (8 + m) * 2 ** (e - 10));
  };
  const modes = {
    mxfp4: {
      bits: 4,
      size: 32,
      value: (c: number) => (c & 8 ? -1 : 1) * e2m1[c & 7]!,
      scale: (s: number) => 2 ** (s - 127),
    },
    mxfp8: { bits: 8, size: 32, value: e4m3, scale: (s: number) => 2 ** (s - 127) },
    nvfp4: { bits: 4, size: 16, value: (c: number) => (c & 8 ? -1 : 1) * e2m1[c & 7]!, scale: e4m3 },
  };

  it.each(['mxfp4', 'mxfp8', 'nvfp4'] as const)('reads and writes %s', async (mode) => {
    const { bits, size, value, scale } = modes[mode];
    const codes = wholeNumbers(5 * 64, 2 ** bits);
    const scales = wholeNumbers((5 * 64) / size, 120, 4).map((s) => s + (mode === 'nvfp4' ? 0 : 70));
    const tensors = {
      [NAME]: stored('u32', [5, (64 * bits) / 32], bitStream(codes.map((code) => [code, bits]))),
      [`${MODULE}.scales`]: stored('u8', [5, 64 / size], scales),
    };
    const q = await readWeight(mlx, tensors, NAME, config(bits, size, { mode }));
    expectSameFloats(
      dequantize(q),
      codes.map((c, i) => f(value(c) * scale(scales[Math.floor(i / size)]!))),
    );
    const { tensors: written, config: json } = await expectRoundTrip(mlx, q);
    expect(Object.fromEntries(written)).toEqual(tensors);
    expect(json['quantization']).toEqual({ group_size: size, bits, mode });
    // The same values in other clothes: float scales, a factor for the whole tensor.
    const plain = tensor(
      Float32Array.from(scales, (s) => scale(s) * 2),
      [5, 64 / size],
    );
    const parts = { ...q.parts, scales: plain, globalScale: 0.5 };
    expect(Object.fromEntries((await expectRoundTrip(mlx, { ...q, parts })).tensors)).toEqual(tensors);
    const third = { ...q, parts: { ...parts, globalScale: 0.3 } };
    await expectFailure(() => mlx.writer?.split(NAME, third), 'UNSUPPORTED', 'not exact');
    const zeroes = tensor(new Float32Array(plain.data.length).fill(-1), plain.shape);
    const negative = { ...q, parts: { ...q.parts, scales: zeroes } };
    if (mode !== 'nvfp4') await expectFailure(() => mlx.writer?.split(NAME, negative), 'UNSUPPORTED', 'scale -1');
    const eights = { ...q.scheme, granularity: { type: 'group', axis: 1, size: 8 } } as const;
    const finer = { ...q, scheme: eights, parts: { codes: q.parts.codes } };
    await expectFailure(() => mlx.writer?.split(NAME, finer), 'UNSUPPORTED', 'groups of 32 or 16');
    const biased = { ...tensors, [`${MODULE}.biases`]: storedFloats([1]) };
    await expectFailure(() => readWeight(mlx, biased, NAME, config(bits, size, { mode })), 'FORMAT', 'no biases');
  });
});

describe('mlx settings', () => {
  const four = affineFile(4, 64, [2], 128).tensors;

  it('gives layers their own settings; what they leave out is the default of the mode', async () => {
    const others = config(3, 32, { [MODULE]: { bits: 4 }, lm_head: false });
    const q = await readWeight(mlx, four, NAME, others);
    expect(q.scheme.granularity).toEqual({ type: 'group', axis: 1, size: 64 });
    const legacy = { quantization_config: { group_size: 64, bits: 4 } };
    expect((await readWeight(mlx, four, NAME, legacy)).shape).toEqual([2, 128]);
    const all = config(4, 64, { [MODULE]: true });
    expect((await readWeight(mlx, four, NAME, all)).shape).toEqual([2, 128]);
  });

  it('writes the settings of most layers once and the others by name', () => {
    const [common, other] = [
      { group_size: 64, bits: 4 },
      { group_size: 32, bits: 6 },
    ];
    const quantization = { ...common, 'a.embed': other };
    expect(
      mlx.writer?.config(
        new Map([
          ['a.embed.weight', other],
          ['b.weight', common],
          ['c.weight', common],
        ]),
        ['d.weight'],
      ),
    ).toEqual({ quantization, quantization_config: quantization });
  });

  it('refuses settings and shapes that do not fit', async () => {
    const read = (json: JsonObject, tensors = four) => readWeight(mlx, tensors, NAME, json);
    await expectFailure(() => read(config(4, 16)), 'UNSUPPORTED', '16');
    await expectFailure(() => read(config(7, 64)), 'UNSUPPORTED', '7 bits');
    await expectFailure(() => read(config(4, 64, { mode: 'fp3' })), 'UNSUPPORTED', 'fp3');
    await expectFailure(() => read(config(4, 64, { mode: '__proto__' })), 'UNSUPPORTED', '__proto__');
    await expectFailure(() => read(config(4, 64, { mode: 'nvfp4' })), 'UNSUPPORTED', 'nvfp4');
    await expectFailure(() => read({ quantization: { bits: '4', group_size: 64 } }), 'UNSUPPORTED', '"4"');
    await expectFailure(() => read(config(4, 64, { [MODULE]: false })), 'FORMAT', 'false');
    await expectFailure(() => read(config(4, 64, { [MODULE]: [] })), 'FORMAT', '[]');
    await expectFailure(() => read(config(4, 128)), 'FORMAT', 'scales', '[2,1]');
    await expectFailure(() => read(config(6, 64)), 'FORMAT', NAME);
    const { [`${MODULE}.biases`]: _, ...unbiased } = four;
    await expectFailure(() => read(config(4, 64), unbiased as typeof four), 'FORMAT', 'biases', 'no such tensor');
    const lonely = { ...four, 'x.scales': storedFloats([1]) };
    await expectFailure(() => read(config(4, 64), lonely), 'FORMAT', 'x.weight');
  });

  it('detects its own only', async () => {
    const own = await openTensors(four);
    expect(mlx.detect(own)).toBe(false);
    expect(mlx.detect(own, config(4, 64))).toBe(true);
    expect(mlx.detect(own, { quantization_config: { quant_method: 'gptq', bits: 4, group_size: 64 } })).toBe(false);
    const gptq = await openTensors({ 'x.qweight': stored('i32', [1], [0, 0, 0, 0]), 'x.scales': storedFloats([1]) });
    expect(mlx.detect(gptq, config(4, 64))).toBe(false);
  });
});
