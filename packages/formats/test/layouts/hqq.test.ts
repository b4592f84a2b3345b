import {
  dequantize,
  encode,
  type FloatDType,
  type PackedTensor,
  type QuantizedTensor,
  tensor,
  toFloat32,
} from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { hqq } from '../../src/layouts.js';
import { expectFailure } from '../support/files.js';
import { openTensors } from '../support/layout-file.js';
import { expectRoundTrip, expectSameFloats, readWeight } from '../support/layouts.js';
import { floats, stored, storedFloats, wholeNumbers } from '../support/sample-weights.js';

const MODULE = 'model.layers.0.mlp.up_proj';
const NAME = `${MODULE}.weight`;
const f = Math.fround;

interface Example {
  readonly bits: number;
  readonly shape: readonly [number, number];
  readonly groupSize: number;
  readonly axis: 0 | 1;
  readonly dtype?: FloatDType;
}

const TORCH: Record<string, string> = { f16: 'torch.float16', bf16: 'torch.bfloat16', f32: 'torch.float32' };
const WORDS: Record<number, [string, number, number]> = {
  8: ['8bit_u8', 1, 8],
  6: ['8bit_u8', 1, 8],
  5: ['8bit_u8', 1, 8],
  4: ['4bit_u8', 2, 8],
  3: ['3bit_32', 10, 32],
  2: ['2bit_u8', 4, 8],
  1: ['1bit_u8', 8, 8],
};

const int = (value: number): PackedTensor => encode([value], 'i32', []);
const flag = (value: number): PackedTensor => stored('u8', [], [value]);
const text = (value: string): PackedTensor => stored('u8', [value.length], new TextEncoder().encode(value));

/** A layer as HQQ writes it, packed one bit at a time, and the values of its formula. */
function layer({ bits, shape, groupSize, axis, dtype = 'f16' }: Example) {
  const count = shape[0] * shape[1];
  const groups = count / groupSize;
  const [rows, width] = axis === 1 ? [groups, groupSize] : [groupSize, groups];
  const [packing, bands, wordBits] = WORDS[bits]!;
  const codes = wholeNumbers(count, 2 ** bits, bits + shape[0]);
  const wordRows = Math.ceil(rows / bands);
  const bytes = new Uint8Array((wordRows * width * wordBits) / 8);
  const field = bands === 1 ? 8 : bits;
  codes.forEach((code, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    const band = Math.floor(row / wordRows);
    const word = (row - band * wordRows) * width + column;
    for (let bit = 0; bit < bits; bit++) {
      if (((code >> bit) & 1) === 0) continue;
      const position = word * wordBits + (bands - 1 - band) * field + bit;
      bytes[Math.floor(position / 8)]! += 2 ** (position % 8);
    }
  });
  const parameterShape = axis === 1 ? [groups, 1] : [1, groups];
  const scale = encode(
    floats(groups, 3).map((x) => x * 2 ** 8),
    dtype,
    parameterShape,
  );
  const zero = encode(
    wholeNumbers(groups, 1000, 5).map((n) => n / 70),
    dtype,
    parameterShape,
  );
  const tensors: Record<string, PackedTensor> = {
    W_q: stored(wordBits === 8 ? 'u8' : 'i32', [wordRows, width], bytes),
    scale,
    zero,
    nbits: int(bits),
    group_size: int(groupSize),
    shape: encode(shape, 'i64'),
    axis: int(axis),
    packing: text(packing),
    unpack_view_dtype: text(wordBits === 8 ? 'torch.uint8' : 'torch.int32'),
    view_as_float: flag(0),
    quant_scale: flag(0),
    quant_zero: flag(0),
    compute_dtype: text(TORCH[dtype]!),
    channel_wise: flag(1),
    optimize: flag(1),
    round_zero: flag(0),
    offload_meta: flag(0),
    encoded_state_dict: flag(1),
    stores_quant_config: flag(1),
  };
  const [scales, zeros] = [toFloat32(scale), toFloat32(zero)];
  const values = codes.map((code, i) => {
    const group = axis === 1 ? Math.floor(i / groupSize) : i % groups;
    return f(f(code - zeros[group]!) * scales[group]!);
  });
  return { tensors: named(tensors), values };
}

function named(parts: Record<string, PackedTensor>): Record<string, PackedTensor> {
  return Object.fromEntries(Object.entries(parts).map(([key, part]) => [`${MODULE}.${key}`, part]));
}

describe('hqq', () => {
  it('reads hand-packed words: the first half of the rows in the high bits', async () => {
    // Groups of 8 in [4, 4]: rows 0 and 1 of the matrix of groups; codes 0 .. 15.
    const bytes = Array.from({ length: 8 }, (_, i) => i * 16 + i + 8);
    const { tensors } = layer({ bits: 4, shape: [4, 4], groupSize: 8, axis: 1 });
    const changed = {
      ...tensors,
      ...named({
        W_q: stored('u8', [1, 8], bytes),
        scale: encode([2, 1], 'f16', [2, 1]),
        zero: encode([0.5, 8], 'f16', [2, 1]),
      }),
    };
    const q = await readWeight(hqq, changed, NAME);
    expect([...dequantize(q)]).toEqual([-1, 1, 3, 5, 7, 9, 11, 13, 0, 1, 2, 3, 4, 5, 6, 7]);
  });

  const examples: Example[] = [];
  for (const bits of [8, 6, 5, 4, 3, 2, 1]) {
    examples.push({ bits, shape: [16, 128], groupSize: 64, axis: 1 });
    examples.push({ bits, shape: [24, 40], groupSize: 24, axis: 0, dtype: 'f32' });
  }
  examples.push(
    { bits: 3, shape: [7, 64], groupSize: 64, axis: 1, dtype: 'bf16' },
    { bits: 3, shape: [11, 24], groupSize: 8, axis: 0 },
    { bits: 4, shape: [8, 96], groupSize: 64, axis: 1 },
    { bits: 2, shape: [16, 72], groupSize: 32, axis: 1, dtype: 'f32' },
    { bits: 4, shape: [6, 8], groupSize: 4, axis: 1 },
    { bits: 4, shape: [12, 20], groupSize: 8, axis: 0, dtype: 'bf16' },
  );
  it.each(examples)('reads and writes $bits bits of $shape in groups of $groupSize, axis $axis', async (example) => {
    const { tensors, values } = layer(example);
    const q = await readWeight(hqq, tensors, NAME);
    expectSameFloats(dequantize(q), values);
    const { tensors: written } = await expectRoundTrip(hqq, q);
    expect([...written.keys()].sort()).toEqual(Object.keys(tensors).sort());
    for (const [key, part] of written) expect(part, key).toEqual(tensors[key]);
  });

  it('reads words labelled as floats, stacked zeros and scales, and numbers of one byte', async () => {
    const { tensors, values } = layer({ bits: 4, shape: [16, 64], groupSize: 64, axis: 1 });
    const { [`${MODULE}.zero`]: zero, [`${MODULE}.scale`]: scale, [`${MODULE}.W_q`]: codes, ...rest } = tensors;
    const both = [...zero!.bytes, ...scale!.bytes];
    const changed = {
      ...rest,
      ...named({
        zero_scale: stored('f16', [2, 16, 1], both),
        W_q: stored('f16', [8, 32], codes!.bytes),
        view_as_float: flag(1),
        offload_meta: flag(1),
        nbits: flag(4),
      }),
    };
    expectSameFloats(dequantize(await readWeight(hqq, changed, NAME)), values);
  });

  const make = (bits: number, shape: [number, number], size: number, rest: object = {}): QuantizedTensor => {
    const inRow = Math.ceil(shape[1] / size);
    const groups = inRow * shape[0];
    return {
      kind: 'quantized',
      shape,
      scheme: {
        name: 'affine',
        version: 1,
        grid: { type: 'affine', bits, signed: false, symmetric: false },
        granularity: { type: 'group', axis: 1, size },
      },
      parts: {
        codes: tensor(Uint8Array.from(wholeNumbers(shape[0] * shape[1], 2 ** bits)), shape),
        scales: tensor(floats(groups), [shape[0], inRow]),
        zeros: tensor(floats(groups, 3), [shape[0], inRow]),
        ...rest,
      },
    };
  };

  it('writes what other quantizers make, symmetric codes too', async () => {
    await expectRoundTrip(hqq, make(4, [6, 192], 64));
    const wide = await expectRoundTrip(hqq, make(7, [6, 40], 40));
    expect(wide.tensors.get(`${MODULE}.nbits`)).toEqual(int(8));
    const codes = tensor(
      Int8Array.from(wholeNumbers(384, 16), (n) => n - 8),
      [6, 64],
    );
    const q = make(4, [6, 64], 64);
    const grid = { type: 'affine', bits: 4, signed: true, symmetric: true } as const;
    const scheme = { ...q.scheme, grid, granularity: { type: 'axis', axis: 0 } } as const;
    const scales = tensor(floats(6).map(Math.abs), [6]);
    const { tensors } = await expectRoundTrip(hqq, { ...q, scheme, parts: { codes, scales, globalScale: 0.25 } });
    expect(new Set(toFloat32(tensors.get(`${MODULE}.zero`) as PackedTensor<'f32'>))).toEqual(new Set([8]));
  });

  it('refuses what it cannot hold', async () => {
    const split = (q: QuantizedTensor, name = NAME) => hqq.writer?.split(name, q);
    const offsets = tensor(floats(6), [6, 1]);
    await expectFailure(() => split(make(4, [6, 64], 64, { offsets })), 'UNSUPPORTED', 'offsets');
    await expectFailure(() => split(make(9, [6, 64], 64)), 'UNSUPPORTED', '9 bits');
    await expectFailure(() => split(make(4, [5, 64], 64)), 'UNSUPPORTED', '4bit_u8');
    await expectFailure(() => split(make(4, [6, 60], 60)), 'UNSUPPORTED', 'groups of 60');
    await expectFailure(() => split(make(4, [0, 64], 64)), 'UNSUPPORTED', 'without elements');
    await expectFailure(() => split(make(4, [6, 64], 64), 'lm_head'), 'UNSUPPORTED', '.weight');
    const permuted = make(4, [6, 64], 64, { permutation: new Uint32Array(64) });
    await expectFailure(() => split(permuted), 'UNSUPPORTED', 'permutation');
  });

  it('writes the configuration that transformers and vLLM read', async () => {
    const { config } = await expectRoundTrip(hqq, make(4, [6, 64], 64), ['lm_head.weight']);
    expect(config).toEqual({
      quantization_config: {
        quant_config: {
          offload_meta: false,
          scale_quant_params: null,
          weight_quant_params: {
            axis: 1,
            channel_wise: true,
            group_size: 64,
            nbits: 4,
            optimize: true,
            round_zero: false,
            view_as_float: false,
          },
          zero_quant_params: null,
        },
        quant_method: 'hqq',
        skip_modules: ['lm_head'],
      },
    });
    const mixed = new Map([
      ['a', { bits: 4, groupSize: 64, axis: 1 }],
      ['b', { bits: 4, groupSize: 32, axis: 1 }],
    ]);
    await expectFailure(() => hqq.writer?.config(mixed, []), 'UNSUPPORTED', 'groupSize');
    await expectFailure(() => hqq.writer?.config(new Map(), []), 'UNSUPPORTED');
  });

  it('refuses damaged settings and parts that do not fit', async () => {
    const { tensors } = layer({ bits: 4, shape: [16, 64], groupSize: 64, axis: 1 });
    const read = (changed: Record<string, PackedTensor>) => readWeight(hqq, { ...tensors, ...named(changed) }, NAME);
    const bad: [Record<string, PackedTensor>, string, string][] = [
      [{ nbits: int(7) }, 'FORMAT', 'nbits'],
      [{ nbits: int(-4) }, 'FORMAT', 'nbits'],
      [{ nbits: int(3) }, 'FORMAT', 'packing'],
      [{ nbits: storedFloats([1.58], []) }, 'FORMAT', 'nbits'],
      [{ nbits: encode([4, 4], 'i32') }, 'FORMAT', 'nbits'],
      [{ packing: text('4bit_32') }, 'FORMAT', 'packing'],
      [{ packing: text('x'.repeat(65)) }, 'FORMAT', 'packing'],
      [{ compute_dtype: text('torch.float16);import os') }, 'FORMAT', 'compute_dtype'],
      [{ unpack_view_dtype: text('torch.int64') }, 'FORMAT', 'unpack_view_dtype'],
      [{ quant_zero: flag(1) }, 'UNSUPPORTED', 'quant_zero'],
      [{ quant_scale: flag(1) }, 'UNSUPPORTED', 'quant_scale'],
      [{ quant_scale: flag(9) }, 'FORMAT', 'quant_scale'],
      [{ axis: int(2) }, 'FORMAT', 'axis'],
      [{ axis: int(0) }, 'FORMAT', 'zero'],
      [{ shape: encode([16, 65], 'i64') }, 'FORMAT', 'group_size'],
      [{ shape: encode([2 ** 40, 2 ** 40], 'i64') }, 'FORMAT', 'shape'],
      [{ shape: encode([-16, -64], 'i64') }, 'FORMAT', 'shape'],
      [{ shape: encode([16], 'i64') }, 'FORMAT', 'shape'],
      [{ shape: encode([32, 64], 'i64') }, 'FORMAT', 'W_q'],
      [{ group_size: int(0) }, 'FORMAT', 'group_size'],
      [{ group_size: int(48) }, 'FORMAT', 'group_size'],
      [{ group_size: int(1024) }, 'FORMAT', 'W_q'],
      [{ scale: storedFloats([1], [1, 1]) }, 'FORMAT', 'scale'],
      [{ zero: stored('i8', [16, 1], new Uint8Array(16)) }, 'FORMAT', 'zero'],
    ];
    for (const [changed, code, word] of bad) await expectFailure(() => read(changed), code, MODULE, word);
    for (const key of ['scale', 'zero', 'group_size', 'shape', 'axis', 'packing']) {
      const { [`${MODULE}.${key}`]: _, ...rest } = tensors;
      await expectFailure(() => readWeight(hqq, rest, NAME), 'FORMAT', `${MODULE}.${key}`, 'no such tensor');
    }
  });

  it('detects its own only', async () => {
    const own = await openTensors(layer({ bits: 4, shape: [16, 64], groupSize: 64, axis: 1 }).tensors);
    expect(hqq.detect(own)).toBe(true);
    expect(hqq.detect(own, { quantization_config: { quant_method: 'hqq' } })).toBe(true);
    expect(hqq.detect(own, { quantization_config: { quant_method: 'awq' } })).toBe(false);
    const other = await openTensors({ 'x.W_q': storedFloats([1]), 'y.nbits': int(4) });
    expect(hqq.detect(other)).toBe(false);
  });
});
