import {
  encode,
  type Grid,
  type ParameterTensor,
  type QuantizedParts,
  type QuantizedTensor,
  tensor,
} from '@halftone/tensor';
import { FP4_VALUES, NF4_VALUES } from '@halftone/tensor/codebooks';
import { unpackGgml } from '../../src/index.js';
import { randomBlocks } from '../ggml-blocks.js';

/** Divisible by every group and block of the samples. */
const ROWS = 128;
const COLUMNS = 256;

/** A weight as a user may have it, and what to call it. */
export interface ConversionSample {
  readonly name: string;
  readonly weight: QuantizedTensor;
}

interface AffineSample {
  readonly bits: number;
  readonly groupSize: number | 'row';
  readonly zeros?: 'whole' | 'fractional';
  /** Scale and offset instead of scale and zero. */
  readonly offsets?: boolean;
  readonly groupIndex?: boolean;
}

/** One weight for each row of the conversion matrix. Scales are float16, so that no format refuses them for their precision. */
export function conversionSamples(): ConversionSample[] {
  return [
    sample('int4, symmetric, groups of 32', affine({ bits: 4, groupSize: 32 })),
    sample('int4, symmetric, groups of 128', affine({ bits: 4, groupSize: 128 })),
    sample('int4, whole zeros, groups of 32', affine({ bits: 4, groupSize: 32, zeros: 'whole' })),
    sample('int4, whole zeros, groups of 128', affine({ bits: 4, groupSize: 128, zeros: 'whole' })),
    sample('int4, fractional zeros, groups of 64', affine({ bits: 4, groupSize: 64, zeros: 'fractional' })),
    sample('int4, offsets, groups of 32', affine({ bits: 4, groupSize: 32, offsets: true })),
    sample('int4, symmetric, act-order', affine({ bits: 4, groupSize: 32, groupIndex: true })),
    sample('int2, symmetric, groups of 32', affine({ bits: 2, groupSize: 32 })),
    sample('int3, symmetric, groups of 128', affine({ bits: 3, groupSize: 128 })),
    sample('int8, symmetric, a scale a row', affine({ bits: 8, groupSize: 'row' })),
    sample('int8, whole zeros, a scale a row', affine({ bits: 8, groupSize: 'row', zeros: 'whole' })),
    sample('FP8 E4M3, a scale a row', float(4, 3, 7, { type: 'axis', axis: 0 })),
    sample('FP8 E4M3, blocks of 128 x 128', float(4, 3, 7, { type: 'block', rows: 128, columns: 128 })),
    sample('MXFP4', unpackGgml(evenBlocks('MXFP4'))),
    sample('NVFP4', unpackGgml(evenBlocks('NVFP4'))),
    sample('NF4, blocks of 64', table(NF4_VALUES, 64)),
    sample('FP4 of bitsandbytes, blocks of 64', table(FP4_VALUES, 64)),
    sample('IQ4_NL', unpackGgml(randomBlocks('IQ4_NL', ROWS, COLUMNS, 1))),
    sample('Q4_K', unpackGgml(randomBlocks('Q4_K', ROWS, COLUMNS, 2))),
    sample('Q6_K', unpackGgml(randomBlocks('Q6_K', ROWS, COLUMNS, 3))),
    sample('IQ2_XXS', unpackGgml(randomBlocks('IQ2_XXS', ROWS, COLUMNS, 4))),
    sample('TQ2_0', unpackGgml(randomBlocks('TQ2_0', ROWS, COLUMNS, 5))),
    sample('int4 with outliers beside it', withParts(affine({ bits: 4, groupSize: 32 }), { outliers: outliers() })),
    sample('int4 with a low-rank part', withParts(affine({ bits: 4, groupSize: 32 }), { lowRank: lowRank() })),
  ];
}

const sample = (name: string, weight: QuantizedTensor): ConversionSample => ({ name, weight });

function affine({ bits, groupSize, zeros, offsets, groupIndex }: AffineSample): QuantizedTensor {
  const random = numbers(bits * 31 + (groupSize === 'row' ? 0 : groupSize));
  const groups = groupSize === 'row' ? 1 : COLUMNS / groupSize;
  const symmetric = zeros === undefined && offsets !== true;
  const highest = 2 ** bits - 1;
  const grid: Grid = { type: 'affine', bits, signed: symmetric, symmetric };
  const lowest = symmetric ? -(2 ** (bits - 1)) : 0;
  const codes = Int16Array.from({ length: ROWS * COLUMNS }, () => lowest + Math.floor(random() * (highest + 1)));
  const shape = groupSize === 'row' ? [ROWS] : [ROWS, groups];
  // Five bits of mantissa: products with codes and zeros stay exact in float32, and offsets in float16.
  const scales = Float32Array.from({ length: ROWS * groups }, () => (16 + Math.floor(random() * 16)) * 2 ** -10);
  const perGroup = (value: (group: number) => number): ParameterTensor =>
    tensor(
      Float32Array.from(scales, (_, group) => value(group)),
      shape,
    );
  const zero = () => 1 + Math.floor(random() * (highest - 1)) + (zeros === 'fractional' ? 0.5 : 0);
  return {
    kind: 'quantized',
    shape: [ROWS, COLUMNS],
    scheme: {
      name: 'affine',
      version: 1,
      grid,
      granularity: groupSize === 'row' ? { type: 'axis', axis: 0 } : { type: 'group', axis: 1, size: groupSize },
    },
    parts: {
      codes: tensor(symmetric ? Int8Array.from(codes) : Uint8Array.from(codes), [ROWS, COLUMNS]),
      scales: encode(scales, 'f16', shape),
      ...(zeros === undefined ? {} : { zeros: perGroup(zero) }),
      ...(offsets === true ? { offsets: perGroup(() => -Math.floor(random() * 64) * 2 ** -8) } : {}),
      ...(groupIndex === true ? { groupIndex: Uint32Array.from({ length: COLUMNS }, (_, i) => (i * 7) % groups) } : {}),
    },
  };
}

function float(
  exponent: number,
  mantissa: number,
  bias: number,
  granularity: QuantizedTensor['scheme']['granularity'],
): QuantizedTensor {
  const random = numbers(9);
  const shape = granularity.type === 'block' ? [ROWS / granularity.rows, COLUMNS / granularity.columns] : [ROWS];
  const count = shape.reduce((product, n) => product * n, 1);
  // Every code but the two NaNs.
  const codes = Uint8Array.from({ length: ROWS * COLUMNS }, () => {
    const code = Math.floor(random() * 256);
    return (code & 127) === 127 ? code - 1 : code;
  });
  return {
    kind: 'quantized',
    shape: [ROWS, COLUMNS],
    scheme: { name: 'float', version: 1, grid: { type: 'float', exponent, mantissa, bias }, granularity },
    parts: {
      codes: tensor(codes, [ROWS, COLUMNS]),
      scales: tensor(
        Float32Array.from({ length: count }, () => Math.fround(0.001 + random() / 100)),
        shape,
      ),
    },
  };
}

function table(values: readonly number[], size: number): QuantizedTensor {
  const random = numbers(values.length + size);
  const shape = [ROWS, COLUMNS / size];
  return {
    kind: 'quantized',
    shape: [ROWS, COLUMNS],
    scheme: {
      name: 'lookup',
      version: 1,
      grid: { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 },
      granularity: { type: 'group', axis: 1, size },
    },
    parts: {
      codes: tensor(
        Uint8Array.from({ length: ROWS * COLUMNS }, () => Math.floor(random() * 16)),
        [ROWS, COLUMNS],
      ),
      codebook: tensor(Float32Array.from(values), [16, 1]),
      scales: tensor(
        Float32Array.from({ length: ROWS * (COLUMNS / size) }, () => Math.fround(random())),
        shape,
      ),
    },
  };
}

/** Random blocks whose scales every reader of E8M0 and E4M3 takes for the same number. */
function evenBlocks(type: 'MXFP4' | 'NVFP4') {
  const packed = randomBlocks(type, ROWS, COLUMNS, 6);
  const { bytes } = packed;
  const [blockBytes, scales] = type === 'MXFP4' ? [17, 1] : [36, 4];
  for (let at = 0; at < bytes.length; at += blockBytes) {
    for (let i = 0; i < scales; i++) bytes[at + i] = type === 'MXFP4' ? 110 + (at % 20) : 1 + ((at + i) % 100);
  }
  return packed;
}

function outliers(): QuantizedParts['outliers'] {
  const rowPointers = Uint32Array.from({ length: ROWS + 1 }, (_, row) => Math.min(row, 3));
  return { shape: [ROWS, COLUMNS], rowPointers, columns: Uint32Array.of(5, 9, 200), values: Float32Array.of(1, -2, 3) };
}

function lowRank(): QuantizedParts['lowRank'] {
  const side = (shape: [number, number]) => tensor(new Float32Array(shape[0] * shape[1]).fill(0.5), shape);
  return { left: side([ROWS, 2]), right: side([2, COLUMNS]) };
}

function withParts(weight: QuantizedTensor, parts: Partial<QuantizedParts>): QuantizedTensor {
  return { ...weight, parts: { ...weight.parts, ...parts } };
}

/** Linear congruential numbers in [0, 1): the same for the same seed. */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
