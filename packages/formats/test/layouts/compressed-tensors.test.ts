import {
  dequantize,
  encode,
  type Granularity,
  type JsonObject,
  type PackedTensor,
  packCodes,
  packed,
  type QuantizedTensor,
  tensor,
} from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { describe, expect, it } from 'vitest';
import { type CompressedTensorsOptions, compressedTensors, gptq, withLayouts } from '../../src/layouts.js';
import { expectFailure } from '../support/files.js';
import { openTensors } from '../support/layout-file.js';
import { expectRoundTrip, flip, readChecked, readOne, slowPack } from '../support/layouts.js';
import { affine, int32, numbers, stored } from '../support/sample-weights.js';

const group = (weights: JsonObject, more: JsonObject = {}): JsonObject => ({ targets: ['Linear'], weights, ...more });
const config = (groups: JsonObject, more: JsonObject = {}): JsonObject => ({
  quantization_config: {
    quant_method: 'compressed-tensors',
    quantization_status: 'compressed',
    config_groups: groups,
    ignore: ['lm_head'],
    ...more,
  },
});
const one = (weights: JsonObject, format = 'pack-quantized'): JsonObject =>
  config({ group_0: group(weights) }, { format });

const f32 = (shape: readonly number[], values: readonly number[]) => encode(values, 'f32', shape);
const f16 = (shape: readonly number[], values: readonly number[]) => encode(values, 'f16', shape);
const shapeOf = (rows: number, columns: number): PackedTensor =>
  packed('i64', [2], new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(columns)).buffer));
const valuesOf = async (
  tensors: ReadonlyMap<string, PackedTensor>,
  settings: JsonObject,
  options?: CompressedTensorsOptions,
) => [...dequantize(await readOne(compressedTensors(options), tensors, settings))];
const split = (weight: QuantizedTensor, options?: CompressedTensorsOptions, name = 'x.weight') =>
  (compressedTensors(options).writer as NonNullable<ReturnType<typeof compressedTensors>['writer']>).split(
    name,
    weight,
  );

/** A pack-quantized layer `x`, bit by bit: signed codes `[out][in]`, signed zeros `[groups][out]`. */
function packedLayer(
  bits: number,
  codes: readonly (readonly number[])[],
  scales: PackedTensor,
  options: { zeros?: readonly (readonly number[])[]; padded?: boolean } = {},
): Map<string, PackedTensor> {
  const half = 2 ** (bits - 1);
  const perWord = options.padded ? Math.floor(32 / bits) : undefined;
  const words = slowPack(
    codes.map((row) => row.map((code) => code + half)),
    bits,
    perWord,
  );
  // A line whose last codes are only zero bits still has its words.
  const width = Math.ceil((codes[0] as number[]).length / (perWord ?? 32 / bits));
  const tensors = new Map<string, PackedTensor>([
    [
      'x.weight_packed',
      int32(
        [codes.length, width],
        words.flatMap((line) => [...line, ...new Array(width - line.length).fill(0)]),
      ),
    ],
    ['x.weight_scale', scales],
    ['x.weight_shape', shapeOf(codes.length, (codes[0] as number[]).length)],
  ]);
  if (options.zeros !== undefined) {
    const lines = slowPack(
      options.zeros.map((line) => line.map((zero) => zero + half)),
      bits,
      perWord,
    );
    const packedZeros = flip(lines);
    tensors.set('x.weight_zero_point', int32([packedZeros.length, options.zeros.length], packedZeros.flat()));
  }
  return tensors;
}

const grid = (rows: number, columns: number, value: (row: number, column: number) => number): number[][] =>
  Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (__, column) => value(row, column)));

describe('compressed-tensors: pack-quantized', () => {
  it('reads codes -8 .. 7 written by hand', async () => {
    const tensors = new Map<string, PackedTensor>([
      ['x.weight_packed', stored('i32', [1, 2], [0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe])],
      ['x.weight_scale', f16([1, 1], [0.5])],
      ['x.weight_shape', shapeOf(1, 16)],
    ]);
    const settings = one({ num_bits: 4, type: 'int', symmetric: true, strategy: 'channel' });
    expect(await valuesOf(tensors, settings)).toEqual(Array.from({ length: 16 }, (_, i) => (i - 8) / 2));
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('reads %i-bit codes and zeros, dense and padded', async (bits) => {
    const [rows, columns, size] = [37, 250, 50];
    const random = numbers(bits);
    const half = 2 ** (bits - 1);
    const code = () => random(2 ** bits) - half;
    const codes = grid(rows, columns, code);
    const zeros = grid(5, rows, code);
    const scales = grid(rows, 5, () => random(100) + 1);
    for (const padded of [false, true]) {
      for (const asymmetric of [false, true]) {
        const layer = packedLayer(bits, codes, f16([rows, 5], scales.flat()), {
          padded,
          ...(asymmetric ? { zeros } : {}),
        });
        const settings = one({ num_bits: bits, symmetric: !asymmetric, strategy: 'group', group_size: size });
        const expected = codes.map((row, r) =>
          row.map((value, c) => {
            const g = Math.floor(c / size);
            return (scales[r]?.[g] as number) * (value - (asymmetric ? (zeros[g]?.[r] as number) : 0)) + 0;
          }),
        );
        expect((await valuesOf(layer, settings)).map((value) => value + 0)).toEqual(expected.flat());
      }
    }
  });

  it('tells the packings of short 3-bit rows by their bits, else by the option', async () => {
    const settings = one({ num_bits: 3, strategy: 'channel' });
    const codes = grid(9, 16, (row, column) => ((row * 5 + column * 3) % 8) - 4);
    const scales = f16([9, 1], new Array(9).fill(1));
    for (const padded of [false, true]) {
      const layer = packedLayer(3, codes, scales, { padded });
      expect(layer.get('x.weight_packed')?.shape).toEqual([9, 2]);
      for (const packing of ['dense', 'padded'] as const)
        expect(await valuesOf(layer, settings, { packing })).toEqual(codes.flat());
    }
    // Code 10 is 0b100 and code 11 is 0b000: these words may be of either packing.
    const open = grid(1, 12, () => -4).map((row) => row.with(10, 0));
    for (const packing of ['dense', 'padded'] as const) {
      const layer = packedLayer(3, open, f16([1, 1], [1]), { padded: packing === 'padded' });
      expect(await valuesOf(layer, settings, { packing })).toEqual(open[0]);
    }
  });

  it('tells the packing of short rows by the width of the zero points', async () => {
    // 12 columns may be of either packing; 64 rows take 6 words, or 7.
    const codes = grid(64, 12, (_, column) => (column === 10 ? 0 : -4));
    const zeros = grid(1, 64, (_, row) => (row % 8) - 4);
    const scales = f16([64, 1], new Array(64).fill(1));
    const settings = one({ num_bits: 3, symmetric: false, strategy: 'channel' });
    const expected = codes.map((row, r) => row.map((code) => code - ((r % 8) - 4)));
    for (const padded of [false, true]) {
      const layer = packedLayer(3, codes, scales, { zeros, padded });
      for (const packing of ['dense', 'padded'] as const) {
        expect(await valuesOf(layer, settings, { packing })).toEqual(expected.flat());
      }
    }
    const whole = packedLayer(3, codes, f16([1], [1]), { zeros });
    await expectFailure(
      () => valuesOf(whole, one({ num_bits: 3, symmetric: false, strategy: 'tensor' })),
      'FORMAT',
      'weight_zero_point',
    );
  });

  it('packs 3-bit codes across words or leaves two bits of each', () => {
    const weight: QuantizedTensor = {
      ...affine({ rows: 1, columns: 12, bits: 3, groupSize: 0, signed: true, zeros: 'none' }),
    };
    const codes = tensor(Int8Array.from([-4, -3, -2, -1, 0, 1, 2, 3, -4, -3, 3, 0]), [1, 12]);
    const given = { ...weight, parts: { ...weight.parts, codes } };
    // 0 1 2 3 4 5 6 7 0 1 and then 7 (111) and 4 (100), low-first.
    const ten = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1].reduce((word, code, i) => word + code * 8 ** i, 0);
    const words = (packing: 'dense' | 'padded') => [
      ...new Uint32Array((split(given, { packing }).tensors.get('x.weight_packed') as PackedTensor).bytes.buffer),
    ];
    expect(words('dense')).toEqual([ten + 3 * 2 ** 30, 1 + 4 * 2]);
    expect(words('padded')).toEqual([ten, 7 + 4 * 8]);
  });

  it('reads and writes zero points along the output', () => {
    const weight = affine({ rows: 9, columns: 4, bits: 4, groupSize: 2, signed: true });
    const zeros = (weight.parts.zeros as { data: Int16Array }).data;
    const lines = grid(2, 9, (g, row) => (zeros[row * 2 + g] as number) + 8);
    expect(split(weight).tensors.get('x.weight_zero_point')).toEqual(int32([2, 2], flip(slowPack(lines, 4)).flat()));
  });

  it('keeps g_idx, takes a -1 for none and refuses uneven groups', async () => {
    const settings = one({ num_bits: 4, strategy: 'group', group_size: 2, actorder: 'group' });
    const read = async (indices: readonly number[]) => {
      const layer = packedLayer(4, [[1, 2, 3, 4]], f16([1, 2], [1, 10]));
      layer.set('x.weight_g_idx', int32([indices.length], indices));
      return valuesOf(layer, settings);
    };
    expect(await read([1, 0, 0, 1])).toEqual([10, 2, 3, 40]);
    expect(await read([-1, -1, -1, -1])).toEqual([1, 2, 30, 40]);
    await expectFailure(() => read([0, 0, 0, 1]), 'FORMAT', 'group 0 has 3 columns');
    await expectFailure(() => read([0, 2, 0, 1]), 'RANGE', 'column 1');
    await expectFailure(() => read([0, 1, 1]), 'FORMAT', 'weight_g_idx');
  });

  it('writes weights that read back to the same values', async () => {
    for (const bits of [1, 2, 3, 4, 5, 6, 7, 8]) {
      for (const packing of ['dense', 'padded'] as const) {
        for (const [groupSize, columns] of [
          [0, 171],
          [16, 176],
          [1000, 171],
        ] as const) {
          for (const zeros of ['none', 'whole'] as const) {
            const groupIndex = groupSize === 16 && zeros === 'whole';
            const weight = affine({ rows: 21, columns, bits, groupSize, signed: true, zeros, groupIndex, seed: bits });
            const read = (await expectRoundTrip(compressedTensors({ packing }), weight)).read;
            expect(read.scheme.grid).toEqual(weight.scheme.grid);
            expect(read.parts.groupIndex).toEqual(weight.parts.groupIndex);
          }
        }
      }
    }
    await expectRoundTrip(compressedTensors(), affine({ rows: 5, columns: 8, bits: 4, groupSize: 4 }));
    const whole = affine({ rows: 5, columns: 8, bits: 4, groupSize: 0 });
    const single: QuantizedTensor = {
      ...whole,
      scheme: { ...whole.scheme, granularity: { type: 'tensor' } },
      parts: { ...whole.parts, scales: tensor(Float32Array.of(0.25), [1]), zeros: tensor(Float32Array.of(3), [1]) },
    };
    await expectRoundTrip(compressedTensors(), single);
  });

  it('keeps scales that only bf16 holds', async () => {
    const weight = affine({ rows: 2, columns: 8, bits: 4, groupSize: 0, signed: true, zeros: 'none' });
    const scales = tensor(Float32Array.of(2 ** 100, 2 ** -90 * 1.5), [2, 1]);
    const read = (await expectRoundTrip(compressedTensors(), { ...weight, parts: { ...weight.parts, scales } })).read;
    expect(read.parts.scales).toMatchObject({ dtype: 'bf16' });
  });
});

describe('compressed-tensors: int-quantized', () => {
  const int8 = (codes: readonly number[], shape: readonly number[]) =>
    stored('i8', shape, new Uint8Array(Int8Array.from(codes)));

  it('reads scales for rows and the tensor, with zeros and without', async () => {
    const weight = int8([-128, 127, 0, 1, -1, 5], [2, 3]);
    const rows = new Map<string, PackedTensor>([
      ['x.weight', weight],
      ['x.weight_scale', f32([2, 1], [0.5, 3])],
      ['x.weight_zero_point', int8([-2, 7], [2, 1])],
    ]);
    const channel = { num_bits: 8, type: 'int', symmetric: false, strategy: 'channel' };
    expect(await valuesOf(rows, one(channel, 'int-quantized'))).toEqual([-63, 64.5, 1, -18, -24, -6]);
    const whole = new Map<string, PackedTensor>([
      ['x.weight', weight],
      ['x.weight_scale', f32([1], [2])],
    ]);
    const single = { num_bits: 8, type: 'int', symmetric: true, strategy: 'tensor' };
    expect(await valuesOf(whole, one(single, 'int-quantized'))).toEqual([-256, 254, 0, 2, -2, 10]);
    await expectFailure(() => valuesOf(whole, one({ ...single, num_bits: 4 }, 'int-quantized')), 'RANGE', '-128 at 0');
  });

  it('writes W8A8 as vLLM reads it', async () => {
    const options = { integers: 'int-quantized' } as const;
    const weight = affine({ rows: 3, columns: 5, bits: 8, groupSize: 0, signed: true, zeros: 'none' });
    await expectRoundTrip(compressedTensors(options), weight);
    const { settings } = split(weight, options);
    expect(compressedTensors(options).writer?.config(new Map([['x.weight', settings]]), ['lm_head.weight'])).toEqual({
      quantization_config: {
        quant_method: 'compressed-tensors',
        format: 'int-quantized',
        quantization_status: 'compressed',
        config_groups: {
          group_0: {
            targets: ['Linear'],
            output_activations: null,
            format: 'int-quantized',
            weights: {
              num_bits: 8,
              type: 'int',
              symmetric: true,
              strategy: 'channel',
              group_size: null,
              dynamic: false,
              actorder: null,
            },
            input_activations: { num_bits: 8, type: 'int', symmetric: true, strategy: 'token', dynamic: true },
          },
        },
        ignore: ['lm_head'],
        kv_cache_scheme: null,
        global_compression_ratio: null,
      },
    });
    // A head that is tied to the embedding is listed too, one that is quantized is not.
    const ignored = (name: string, plain: readonly string[]) =>
      compressedTensors().writer?.config(new Map([[name, settings]]), plain)['quantization_config'];
    expect(ignored('x.weight', [])).toMatchObject({ ignore: ['lm_head'] });
    expect(ignored('lm_head.weight', ['x.weight'])).toMatchObject({ ignore: ['x'] });
    for (const [bad, word] of [
      [affine({ rows: 3, columns: 8, bits: 4, groupSize: 0, signed: true, zeros: 'none' }), '4 bits'],
      [affine({ rows: 3, columns: 8, bits: 8, groupSize: 4, signed: true, zeros: 'none' }), 'groups of 4'],
      [affine({ rows: 3, columns: 8, bits: 8, groupSize: 0 }), 'zeros'],
    ] as const) {
      await expectFailure(() => split(bad, options), 'UNSUPPORTED', word);
    }
  });
});

/** A weight of small floats with any codes. */
function floats(options: {
  readonly shape: readonly [number, number];
  readonly bits: 4 | 8;
  readonly granularity: Granularity;
  readonly scales: QuantizedTensor['parts']['scales'];
  readonly globalScale?: number;
}): QuantizedTensor {
  const { shape, bits, granularity, scales, globalScale } = options;
  const codes = Array.from({ length: shape[0] * shape[1] }, (_, i) => (i * 7 + 3) % 2 ** bits);
  return {
    kind: 'quantized',
    shape,
    scheme: {
      name: 'float',
      version: 1,
      grid:
        bits === 8
          ? { type: 'float', exponent: 4, mantissa: 3, bias: 7 }
          : { type: 'float', exponent: 2, mantissa: 1, bias: 1 },
      granularity,
    },
    parts: {
      codes:
        bits === 8
          ? stored('f8_e4m3', shape, codes)
          : stored('f4_e2m1', shape, packCodes(codes, 4, false, shape).bytes),
      ...(scales === undefined ? {} : { scales }),
      ...(globalScale === undefined ? {} : { globalScale }),
    },
  };
}

describe('compressed-tensors: floats', () => {
  it('reads and writes FP8 with one scale, a scale a row and a scale a block', async () => {
    // 0x38 is 1, 0x80 is -0, 0x7e is 448, 0x01 is 2^-9.
    const weight = stored('f8_e4m3', [2, 2], [0x38, 0x80, 0x7e, 0x01]);
    const read = (scales: PackedTensor, weights: JsonObject) =>
      valuesOf(
        new Map([
          ['x.weight', weight],
          ['x.weight_scale', scales],
        ]),
        one({ num_bits: 8, type: 'float', ...weights }, 'float-quantized'),
      );
    expect(await read(f32([1], [0.5]), { strategy: 'tensor' })).toEqual([0.5, -0, 224, 2 ** -10]);
    expect(await read(f16([2, 1], [1, 2]), { strategy: 'channel' })).toEqual([1, -0, 896, 2 ** -8]);
    const block = { strategy: 'block', block_structure: [1, 2] };
    expect(await read(f32([2, 1], [1, 2]), block)).toEqual([1, -0, 896, 2 ** -8]);
    expect(await read(f32([2, 1], [1, 2]), { strategy: 'block', block_structure: '1x2' })).toEqual([
      1,
      -0,
      896,
      2 ** -8,
    ]);
    expect(await read(stored('u8', [2, 1], [127, 128]), { strategy: 'group', group_size: 32 })).toEqual([
      1,
      -0,
      896,
      2 ** -8,
    ]);
    const shape = [5, 7] as const;
    const third = (count: number) => Float32Array.from({ length: count }, (_, i) => (i + 1) / 3);
    for (const [granularity, count, dimensions] of [
      [{ type: 'tensor' }, 1, [1]],
      [{ type: 'axis', axis: 0 }, 5, [5]],
      [{ type: 'block', rows: 2, columns: 3 }, 9, [3, 3]],
    ] as const) {
      const given = floats({ shape, bits: 8, granularity, scales: tensor(third(count), dimensions), globalScale: 0.7 });
      expect((await expectRoundTrip(compressedTensors(), given)).read.scheme.granularity).toEqual(granularity);
    }
  });

  it('reads NVFP4 as scales divided by the global scale', async () => {
    const tensors = new Map<string, PackedTensor>([
      // Codes 1 (0.5), 2 (1), then 15 (-6) and 8 (-0), then zeros.
      ['x.weight_packed', stored('u8', [1, 8], [0x21, 0x8f, 0, 0, 0, 0, 0, 0])],
      ['x.weight_scale', stored('f8_e4m3', [1, 1], [0x38])],
      ['x.weight_global_scale', f32([1], [3])],
    ]);
    const weights = { num_bits: 4, type: 'float', strategy: 'tensor_group', group_size: 16 };
    const third = Math.fround(1 / 3);
    const values = await valuesOf(tensors, one(weights, 'nvfp4-pack-quantized'));
    expect(values.slice(0, 5)).toEqual([third / 2, third, Math.fround(-6 * third), -0, 0]);
    for (const bad of [0, -1, NaN, Infinity]) {
      tensors.set('x.weight_global_scale', f32([1], [bad]));
      await expectFailure(() => valuesOf(tensors, one(weights)), 'RANGE', 'weight_global_scale');
    }
  });

  it('divides NVFP4 scales exactly as float32 does, and finds the divisor again', async () => {
    const random = numbers(11);
    const words = new Uint32Array(1);
    const float = new Float32Array(words.buffer);
    const scales = Array.from({ length: 126 }, (_, code) => code + 1);
    for (let i = 0; i < 4000; i++) {
      // Positive normal numbers whose quotients are normal too.
      words[0] = (20 + random(210)) * 2 ** 23 + random(2 ** 23);
      const [divisor] = float as unknown as [number];
      const reciprocal = 1 / divisor;
      expect(Math.fround(1 / reciprocal)).toBe(divisor);
      for (const code of [1, 9, 13, 77, 126, scales[i % 126] as number]) {
        const scale = (8 + (code % 8)) * 2 ** (Math.floor(code / 8) - 10);
        if (Math.fround(scale * reciprocal) !== Math.fround(scale / divisor)) throw new Error(`${scale} / ${divisor}`);
      }
    }
    const shape = [3, 48] as const;
    const bytes = Uint8Array.from({ length: 9 }, (_, i) => 1 + i * 13);
    const granularity = { type: 'group', axis: 1, size: 16 } as const;
    for (const divisor of [1, 448, Math.fround(2688 / 0.0371), 2 ** -120, 2 ** 100 * 1.25]) {
      const given = floats({
        shape,
        bits: 4,
        granularity,
        scales: stored('f8_e4m3', [3, 3], bytes),
        globalScale: 1 / divisor,
      });
      const read = (await expectRoundTrip(compressedTensors(), given)).read;
      expect(read.parts.globalScale).toBe(1 / divisor);
      expect(read.parts.scales).toMatchObject({ bytes });
    }
    const plain = floats({ shape, bits: 4, granularity, scales: stored('f8_e4m3', [3, 3], bytes) });
    await expectRoundTrip(compressedTensors(), { ...plain, scheme: GGML_SCHEMES.NVFP4 });
  });

  it('reads and writes MXFP4', async () => {
    const tensors = new Map<string, PackedTensor>([
      ['x.weight_packed', stored('u8', [1, 16], [0x72, ...new Array(15).fill(0)])],
      ['x.weight_scale', stored('u8', [1, 1], [129])],
    ]);
    const weights = { num_bits: 4, type: 'float', strategy: 'group', group_size: 32 };
    expect((await valuesOf(tensors, one(weights, 'mxfp4-pack-quantized'))).slice(0, 3)).toEqual([4, 24, 0]);
    const scales = stored('f8_e8m0', [2, 3], [0, 1, 127, 128, 200, 254]);
    const granularity = { type: 'group', axis: 1, size: 32 } as const;
    const given = floats({ shape: [2, 96], bits: 4, granularity, scales });
    await expectRoundTrip(compressedTensors(), given);
    expect(split(given).tensors.get('x.weight_scale')).toEqual(stored('u8', [2, 3], [0, 1, 127, 128, 200, 254]));
    const negative = tensor(Float32Array.of(1, 1, 1, -2, 1, 1), [2, 3]);
    const third = tensor(Float32Array.of(1, 1, 1, 0.3, 1, 1), [2, 3]);
    for (const bad of [negative, third]) {
      await expectFailure(
        () => split(floats({ shape: [2, 96], bits: 4, granularity, scales: bad })),
        'UNSUPPORTED',
        'f8_e8m0',
      );
    }
  });
});

describe('compressed-tensors: files of several kinds', () => {
  const layer = (name: string, bits: number): [string, PackedTensor][] =>
    [
      ...packedLayer(
        bits,
        grid(1, 32, (_, column) => (column % 2 ** bits) - 2 ** (bits - 1)),
        f16([1, 1], [1]),
      ),
    ].map(([key, part]) => [key.replace('x', name), part]);

  it('takes the group that names a module, matches it or is for its class', async () => {
    const tensors = new Map([
      ...layer('model.layers.0.self_attn.q_proj', 4),
      ...layer('model.layers.0.mlp.up_proj', 3),
      ...layer('model.layers.11.mlp.up_proj', 2),
      ...layer('lm_head', 8),
    ]);
    tensors.set('model.norm.weight', f32([1], [1]));
    const groups = (patterns: readonly string[]) =>
      config(
        {
          group_0: group({ num_bits: 8, strategy: 'channel' }, { targets: ['lm_head'], format: 'pack-quantized' }),
          group_1: group({ num_bits: 3, strategy: 'channel' }, { targets: patterns }),
          group_2: group({ num_bits: 2, strategy: 'channel' }, { targets: ['model.layers.11.mlp.up_proj'] }),
          group_3: group({ num_bits: 4, strategy: 'channel' }),
        },
        { format: 'mixed-precision' },
      );
    const checkpoint = await openTensors(tensors);
    for (const patterns of [
      ['re:.*\\.mlp\\..*'],
      ['re:model\\.layers\\.\\d+\\.(?:mlp|nothing)'],
      ['re:(?!.*attn).*up_proj$'],
    ]) {
      const joined = await withLayouts(checkpoint, {
        layouts: [gptq(), compressedTensors()],
        config: groups(patterns),
      });
      expect([...joined.tensors.keys()]).toEqual(['model.norm.weight']);
      const bits = [...(joined.quantized ?? [])].map(([, { scheme }]) => (scheme.grid as { bits: number }).bits);
      expect(bits.sort()).toEqual([2, 3, 4, 8]);
      for (const lazy of joined.quantized?.values() ?? []) await readChecked(lazy);
      expect(joined.quantized?.get('model.layers.0.mlp.up_proj.weight')?.scheme.grid).toMatchObject({ bits: 3 });
      expect(joined.quantized?.get('lm_head.weight')?.scheme.grid).toMatchObject({ bits: 8 });
    }
    const hostile = groups(['re:(((((a|b|.)*)*)*)*)*x', 're:.*mlp']);
    await withLayouts(checkpoint, { layouts: [compressedTensors()], config: hostile });
    const many = Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`g${i}`, group({})]));
    await expectFailure(
      () => withLayouts(checkpoint, { layouts: [compressedTensors()], config: config(many) }),
      'UNSUPPORTED',
      '1001 groups',
    );
    const unknown = groups(['re:(?<=a)b']);
    await expectFailure(
      () => withLayouts(checkpoint, { layouts: [compressedTensors()], config: unknown }),
      'UNSUPPORTED',
      '(?<=a)',
    );
  });

  it('writes groups by name where settings differ', async () => {
    const writer = compressedTensors().writer as NonNullable<ReturnType<typeof compressedTensors>['writer']>;
    const weights = new Map([
      ['a.weight', affine({ rows: 2, columns: 32, bits: 4, groupSize: 16, signed: true, zeros: 'none', seed: 1 })],
      ['b.weight', affine({ rows: 2, columns: 32, bits: 3, groupSize: 16, seed: 2 })],
      ['c.weight', affine({ rows: 2, columns: 32, bits: 4, groupSize: 16, signed: true, zeros: 'none', seed: 3 })],
      [
        'd.weight',
        floats({ shape: [2, 32], bits: 8, granularity: { type: 'tensor' }, scales: tensor(Float32Array.of(0.3), [1]) }),
      ],
    ]);
    const parts = [...weights].map(([name, weight]) => [name, writer.split(name, weight)] as const);
    const written = writer.config(new Map(parts.map(([name, { settings }]) => [name, settings])), ['lm_head.weight']);
    expect(written).toMatchObject({
      quantization_config: {
        format: 'mixed-precision',
        ignore: ['lm_head'],
        config_groups: {
          group_0: { targets: ['a', 'c'], format: 'pack-quantized', input_activations: null },
          group_1: { targets: ['b'], weights: { num_bits: 3, symmetric: false, strategy: 'group', group_size: 16 } },
          group_2: {
            targets: ['d'],
            format: 'float-quantized',
            weights: { num_bits: 8, type: 'float', strategy: 'tensor' },
          },
        },
      },
    });
    const checkpoint = await openTensors(new Map(parts.flatMap(([, { tensors }]) => [...tensors])));
    const joined = await withLayouts(checkpoint, { layouts: [compressedTensors()], config: written });
    expect(joined.tensors.size).toBe(0);
    for (const [name, weight] of weights) {
      const lazy = joined.quantized?.get(name);
      expect(dequantize(await readChecked(lazy as NonNullable<typeof lazy>))).toEqual(dequantize(weight));
    }
    expect(writer.config(new Map(), [])).toEqual({});
  });
});

describe('compressed-tensors: refusals', () => {
  const good = () =>
    packedLayer(
      4,
      grid(3, 8, () => 1),
      f16([3, 2], new Array(6).fill(1)),
    );
  const weights = { num_bits: 4, type: 'int', symmetric: true, strategy: 'group', group_size: 4 };

  it("says no to others' files", async () => {
    const checkpoint = await openTensors(good());
    const layout = compressedTensors();
    expect(layout.detect(checkpoint, one(weights))).toBe(true);
    for (const other of [
      undefined,
      {},
      { quantization_config: { quant_method: 'gptq', bits: 4 } },
      { quant_method: 3 },
    ]) {
      expect(layout.detect(checkpoint, other)).toBe(false);
    }
    const plain = await openTensors(new Map([['x.weight', f32([1], [1])]]));
    expect(layout.detect(plain, one(weights))).toBe(false);
  });

  it('refuses formats and settings it cannot read, with the reason', async () => {
    for (const [settings, code, word] of [
      [one(weights, 'marlin-24'), 'UNSUPPORTED', '2:4 sparse'],
      [one(weights, 'sparse-24-bitmask'), 'UNSUPPORTED', 'bit mask'],
      [
        config({ g: group(weights) }, { sparsity_config: { format: 'sparse-bitmask' } }),
        'UNSUPPORTED',
        'sparse-bitmask',
      ],
      [
        config({ g: group(weights) }, { transform_config: { config_groups: { R1: {} } } }),
        'UNSUPPORTED',
        'transform_config',
      ],
      [config({ W4A16: ['Linear'] }), 'UNSUPPORTED', 'presets'],
      [{ quantization_config: { quant_method: 'compressed-tensors' } }, 'FORMAT', 'config_groups'],
      [config({}), 'FORMAT', 'no group'],
      [config({ g: { targets: ['Linear'], weights: null } }), 'FORMAT', 'no group'],
      [config({ g: { targets: ['Linear'], weights: 4 } }), 'FORMAT', 'weights'],
      [config({ g: { targets: 'Linear', weights } }), 'FORMAT', 'targets'],
      [config({ g: { targets: [1], weights } }), 'FORMAT', 'targets'],
      [one({ ...weights, num_bits: 0 }), 'FORMAT', 'num_bits'],
      [one({ ...weights, num_bits: '4' }), 'FORMAT', 'num_bits'],
      [one({ ...weights, num_bits: 16 }), 'UNSUPPORTED', '16'],
      [one({ ...weights, type: 'complex' }), 'FORMAT', 'type'],
      [one({ ...weights, type: 'float' }), 'FORMAT', '4-bit float'],
      [one({ ...weights, symmetric: 1 }), 'FORMAT', 'symmetric'],
      [one({ ...weights, symmetric: false }), 'FORMAT', 'weight_zero_point'],
      [one({ ...weights, strategy: 'token' }), 'UNSUPPORTED', 'token'],
      [one({ ...weights, group_size: 0 }), 'FORMAT', 'group_size'],
      [one({ ...weights, group_size: 2.5 }), 'FORMAT', 'group_size'],
      [one({ ...weights, group_size: 8 }), 'FORMAT', 'weight_scale'],
      [one({ ...weights, strategy: 'block' }), 'FORMAT', 'block_structure'],
      [one({ ...weights, strategy: 'block', block_structure: [1, 0] }), 'FORMAT', 'block_structure'],
      [one({ ...weights, num_bits: 8 }), 'FORMAT', 'weight_shape'],
    ] as const) {
      await expectFailure(() => valuesOf(good(), settings), code, word);
    }
  });

  it('refuses parts that are missing or do not fit', async () => {
    for (const [name, part, code] of [
      ['x.weight_packed', undefined, 'FORMAT'],
      ['x.weight_scale', undefined, 'FORMAT'],
      ['x.weight_shape', undefined, 'FORMAT'],
      ['x.weight_packed', f32([3, 1], [0, 0, 0]), 'UNSUPPORTED'],
      ['x.weight_packed', int32([3], [0, 0, 0]), 'UNSUPPORTED'],
      ['x.weight_packed', int32([3, 0], []), 'FORMAT'],
      ['x.weight_scale', f16([2, 3], new Array(6).fill(1)), 'FORMAT'],
      ['x.weight_scale', stored('u8', [3, 2], new Array(6).fill(1)), 'FORMAT'],
      ['x.weight_shape', shapeOf(3, 9), 'FORMAT'],
      ['x.weight_shape', shapeOf(2, 8), 'FORMAT'],
      ['x.weight_shape', shapeOf(3, -8), 'FORMAT'],
      ['x.weight_shape', shapeOf(3, 2 ** 52), 'FORMAT'],
      ['x.weight_shape', int32([3], [3, 8, 1]), 'FORMAT'],
    ] as const) {
      const tensors = good();
      if (part === undefined) tensors.delete(name);
      else tensors.set(name, part);
      await expectFailure(() => valuesOf(tensors, one(weights)), code, 'x');
    }
    const frozen = new Map([
      ['x.weight', f32([1, 1], [1])],
      ['x.weight_scale', f32([1], [1])],
    ]);
    await expectFailure(() => valuesOf(frozen, one({ num_bits: 8 })), 'UNSUPPORTED', 'f32 beside a scale');
  });

  it('refuses what the layout cannot hold, with the reason', async () => {
    const base = { rows: 4, columns: 32, bits: 4, groupSize: 16 } as const;
    const weight = affine(base);
    const withParts = (parts: object): QuantizedTensor => ({ ...weight, parts: { ...weight.parts, ...parts } });
    const scales = tensor(new Float32Array(8).fill(1 / 3), [4, 2]);
    await expectFailure(() => split(withParts({ scales })), 'UNSUPPORTED', 'f16 or bf16');
    const zeros = tensor(new Float32Array(8).fill(0.5), [4, 2]);
    await expectFailure(() => split(withParts({ zeros })), 'UNSUPPORTED', '0.5');
    await expectFailure(() => split(withParts({ offsets: zeros })), 'UNSUPPORTED', 'offsets');
    await expectFailure(() => split(affine({ ...base, bits: 9 })), 'UNSUPPORTED', '9 bits');
    await expectFailure(() => split(affine({ ...base, columns: 36 })), 'UNSUPPORTED', 'whole groups of 16');
    const uneven = new Uint32Array(32).fill(1, 10);
    await expectFailure(() => split(withParts({ groupIndex: uneven })), 'UNSUPPORTED', 'group 0');
    await expectFailure(() => split({ ...weight, shape: [2, 2, 32] }), 'UNSUPPORTED', 'linear layer');
    await expectFailure(() => split(weight, {}, 'wte'), 'UNSUPPORTED', '.weight');
    const axis0: Granularity = { type: 'group', axis: 0, size: 2 };
    await expectFailure(
      () => split({ ...weight, scheme: { ...weight.scheme, granularity: axis0 } }),
      'UNSUPPORTED',
      'axis 1',
    );
    const lookup: QuantizedTensor = {
      ...weight,
      scheme: { ...weight.scheme, grid: { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 } },
    };
    await expectFailure(() => split(lookup), 'UNSUPPORTED', 'neither integers');
    const float = (granularity: Granularity, bits: 4 | 8, more: object = {}) => {
      const q = floats({ shape: [4, 48], bits, granularity, scales: undefined });
      return { ...q, parts: { ...q.parts, ...more } };
    };
    await expectFailure(() => split(float({ type: 'group', axis: 1, size: 16 }, 8)), 'UNSUPPORTED', 'FP8 scales');
    await expectFailure(() => split(float({ type: 'group', axis: 1, size: 24 }, 4)), 'UNSUPPORTED', 'NVFP4');
    await expectFailure(() => split(float({ type: 'group', axis: 1, size: 32 }, 4)), 'UNSUPPORTED', 'MXFP4');
    const sixteen = { type: 'group', axis: 1, size: 16 } as const;
    for (const globalScale of [0, -1, NaN, Infinity, 2 ** 200, 2 - 2 ** -23]) {
      const scales = stored(
        'f8_e4m3',
        [4, 3],
        Uint8Array.from({ length: 12 }, (_, i) => 40 + i),
      );
      const q = float(sixteen, 4, { globalScale, scales });
      await expectFailure(() => split(q), 'UNSUPPORTED', 'globalScale');
    }
    await expectFailure(
      () => split(float(sixteen, 4, { channelScale: new Float32Array(48) })),
      'UNSUPPORTED',
      'channelScale',
    );
    await expectFailure(
      () => split(float(sixteen, 4, { groupIndex: new Uint32Array(48) })),
      'UNSUPPORTED',
      'groupIndex',
    );
  });
});
