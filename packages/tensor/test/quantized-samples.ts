import { encode, packCodes, type QuantizedParts, type QuantizedTensor, type Scheme, tensor } from '@halftone/tensor';
import { GGML_SCALE_SCHEMES, GGML_SCHEMES } from '@halftone/tensor/ggml';

const ramp = (count: number, step = 0.37) =>
  Float32Array.from({ length: count }, (_, i) => Math.fround(Math.sin(i + 1) * step + 0.5));
const codes = (count: number, bits: number, signed: boolean) =>
  Array.from({ length: count }, (_, i) => ((i * 7 + (i >> 3)) % 2 ** bits) - (signed ? 2 ** (bits - 1) : 0));

function sample(scheme: Omit<Scheme, 'name' | 'version'>, shape: number[], parts: QuantizedParts): QuantizedTensor {
  return { kind: 'quantized', shape, scheme: { name: 'test', version: 1, ...scheme }, parts };
}

const u4 = { type: 'affine', bits: 4, signed: false, symmetric: false } as const;
const shape = [6, 10];
const u4codes = packCodes(codes(60, 4, false), 4, false, shape);

const nested = (scheme: Scheme, columns: number, bits: number, signed: boolean, supers: number[]): QuantizedTensor => ({
  kind: 'quantized',
  shape: [2, columns],
  scheme,
  parts: {
    codes: packCodes(codes(2 * columns, bits, signed), bits, signed, [2, columns]),
    scales: encode(supers, 'f16', [2, 1]),
  },
});

/** One quantized tensor for each feature of the decoder. */
export const SAMPLES: Readonly<Record<string, QuantizedTensor>> = {
  tensor: sample({ grid: u4, granularity: { type: 'tensor' } }, shape, {
    codes: u4codes,
    scales: tensor(ramp(1), []),
    zeros: encode([7], 'u4', []),
  }),
  rows: sample({ grid: { ...u4, signed: true, symmetric: true }, granularity: { type: 'axis', axis: 0 } }, shape, {
    codes: tensor(Int8Array.from(codes(60, 4, true)), shape),
    scales: tensor(ramp(6), [6, 1]),
  }),
  columns: sample({ grid: u4, granularity: { type: 'axis', axis: 1 } }, shape, {
    codes: u4codes,
    scales: encode(ramp(10), 'bf16', [10]),
    offsets: tensor(ramp(10, 2), [10]),
  }),
  'groups with a short last one': sample({ grid: u4, granularity: { type: 'group', axis: 1, size: 4 } }, shape, {
    codes: u4codes,
    scales: tensor(ramp(18), [6, 3]),
    zeros: tensor(Uint8Array.from(codes(18, 4, false)), [6, 3]),
    globalScale: 0.3,
  }),
  'groups along axis 0': sample({ grid: u4, granularity: { type: 'group', axis: 0, size: 4 } }, shape, {
    codes: u4codes,
    scales: tensor(ramp(20), [2, 10]),
    offsets: tensor(ramp(20, 3), [2, 10]),
  }),
  'groups of a 3-d tensor': sample({ grid: u4, granularity: { type: 'group', axis: 1, size: 2 } }, [2, 3, 10], {
    codes: packCodes(codes(60, 4, false), 4, false, [2, 3, 10]),
    scales: tensor(ramp(40), [2, 2, 10]),
  }),
  blocks: sample({ grid: u4, granularity: { type: 'block', rows: 4, columns: 3 } }, shape, {
    codes: u4codes,
    scales: tensor(ramp(8), [2, 4]),
  }),
  'group index and permutation': sample({ grid: u4, granularity: { type: 'group', axis: 1, size: 5 } }, shape, {
    codes: u4codes,
    scales: tensor(ramp(12), [6, 2]),
    zeros: tensor(ramp(12, 4), [6, 2]),
    groupIndex: Uint32Array.of(0, 1, 1, 0, 0, 1, 0, 1, 1, 0),
    permutation: Uint32Array.of(3, 1, 4, 9, 5, 2, 6, 0, 7, 8),
  }),
  corrections: sample({ grid: u4, granularity: { type: 'axis', axis: 0 } }, shape, {
    codes: u4codes,
    scales: tensor(ramp(6), [6]),
    channelScale: ramp(10),
    outliers: {
      shape: [6, 10],
      rowPointers: Uint32Array.of(0, 2, 2, 3, 3, 3, 4),
      columns: Uint32Array.of(1, 9, 4, 0),
      values: Float32Array.of(10, -20, 30, 0.1),
    },
    lowRank: { left: tensor(ramp(12), [6, 2]), right: tensor(ramp(20), [2, 10]) },
  }),
  'fp8 with tensor scale': sample(
    { grid: { type: 'float', exponent: 4, mantissa: 3, bias: 7 }, granularity: { type: 'tensor' } },
    shape,
    { codes: encode(ramp(60, 100), 'f8_e4m3', shape), scales: tensor(ramp(1), [1]) },
  ),
  'fp4 with fp8 scales and a global scale': sample(
    { grid: { type: 'float', exponent: 2, mantissa: 1, bias: 1 }, granularity: { type: 'group', axis: 1, size: 5 } },
    shape,
    { codes: encode(ramp(60, 8), 'f4_e2m1', shape), scales: encode(ramp(12), 'f8_e4m3', [6, 2]), globalScale: 0.01 },
  ),
  'scalar codebook': sample(
    { grid: { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 }, granularity: { type: 'group', axis: 1, size: 5 } },
    shape,
    { codes: u4codes, codebook: tensor(ramp(16), [16, 1]), scales: tensor(ramp(12), [6, 2]) },
  ),
  'vector codebook': sample(
    { grid: { type: 'lookup', bits: 3, vectorLength: 2, stages: 1 }, granularity: { type: 'tensor' } },
    shape,
    { codes: packCodes(codes(30, 3, false), 3, false, [6, 5]), codebook: tensor(ramp(16), [8, 2]) },
  ),
  'residual codebooks': sample(
    { grid: { type: 'lookup', bits: 3, vectorLength: 5, stages: 2 }, granularity: { type: 'axis', axis: 0 } },
    shape,
    {
      codes: packCodes(codes(24, 3, false), 3, false, [2, 6, 2]),
      codebook: tensor(ramp(80), [2, 8, 5]),
      scales: tensor(ramp(6), [6]),
    },
  ),
  Q4_K: {
    kind: 'quantized',
    shape: [2, 256],
    scheme: GGML_SCHEMES.Q4_K,
    parts: {
      codes: packCodes(codes(512, 4, false), 4, false, [2, 256]),
      scales: nested(GGML_SCALE_SCHEMES.Q4_K, 8, 6, false, [0.0123, 0.377]),
      offsets: nested(GGML_SCALE_SCHEMES.Q4_K, 8, 6, false, [-0.0456, -0.1]),
    },
  },
  Q6_K: {
    kind: 'quantized',
    shape: [2, 256],
    scheme: GGML_SCHEMES.Q6_K,
    parts: {
      codes: packCodes(codes(512, 6, true), 6, true, [2, 256]),
      scales: nested(GGML_SCALE_SCHEMES.Q6_K, 16, 8, true, [0.0123, -0.377]),
    },
  },
};
