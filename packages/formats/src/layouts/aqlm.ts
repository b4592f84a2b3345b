import {
  type Checkpoint,
  contiguousData,
  type DType,
  decode,
  HalftoneError,
  type JsonObject,
  type LazyQuantizedTensor,
  nativeData,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type Scheme,
  type SplitWeight,
  type Tensor,
  tensor,
  toFloat32,
  unpackCodes,
  type WeightLayout,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { exactFloats, refuseSideParts } from './internal/affine-weight.js';
import { commonSetting } from './internal/runtime-config.js';
import { expectShape, moduleName, needPart, storedWeight } from './internal/weight-parts.js';

const WHERE = 'aqlm';
const FLOATS = ['f16', 'bf16', 'f32'] as const;

/**
 * AQLM checkpoints (additive quantization) of aqlm and transformers: every run of `in_group_size` columns is the sum of a vector
 * from each codebook, times the scale of its row.
 *
 * A layer `X` is `X.codes` int8 or int16 `[out / out_group, in / in_group, codebooks]`, taken modulo the codebook's length,
 * `X.codebooks` `[codebooks, 2^bits, out_group, in_group]` and `X.scales` `[out / out_group, 1, 1, 1]`. Vectors of several rows
 * become vectors of one, with a code for each row; they are refused when `2^bits * out_group` exceeds 65536.
 * Sums here are in float32, in the order of the codebooks. Written files have `out_group_size` 1.
 * Source: aqlm/utils.py, _dequantize_weight; aqlm/inference.py.
 */
export const aqlm: WeightLayout = {
  name: WHERE,
  detect: ({ tensors }) =>
    [...tensors.keys()].some((name) => name.endsWith('.codebooks') && tensors.has(codesOf(name))),
  weights(checkpoint) {
    const weights = new Map<string, LazyQuantizedTensor>();
    for (const name of checkpoint.tensors.keys()) {
      if (!name.endsWith('.codebooks')) continue;
      const weight = lazyWeight(checkpoint, name.slice(0, -'.codebooks'.length));
      weights.set(weight.name, weight);
    }
    return weights;
  },
  writer: { split, config },
};

function codesOf(codebooks: string): string {
  return `${codebooks.slice(0, -'.codebooks'.length)}.codes`;
}

function lazyWeight(checkpoint: Checkpoint, base: string): LazyQuantizedTensor {
  const codes = needPart(checkpoint, `${base}.codes`, ['i8', 'i16'], WHERE);
  const codebooks = needPart(checkpoint, `${base}.codebooks`, FLOATS, WHERE);
  const scales = needPart(checkpoint, `${base}.scales`, FLOATS, WHERE);
  const [outGroups = 0, inGroups = 0, stages = 0] = codes.shape;
  const [, entries = 0, outGroup = 0, inGroup = 0] = codebooks.shape;
  expectShape(codes, WHERE, [outGroups, inGroups, stages]);
  expectShape(codebooks, WHERE, [stages, entries, outGroup, inGroup]);
  expectShape(scales, WHERE, [outGroups, 1, 1, 1]);
  const bits = Math.log2(entries);
  if (!Number.isInteger(bits) || bits < 1 || [outGroups, inGroups, stages, outGroup, inGroup].includes(0)) {
    fail('FORMAT', `${base}.codebooks: shape [${codebooks.shape}] is not that of codebooks`, {
      shape: codebooks.shape,
    });
  }
  if (entries * outGroup > 65_536 || stages > 256) {
    fail('UNSUPPORTED', `${base}: ${stages} codebooks of ${entries} vectors of ${outGroup} rows are too many codes`, {
      shape: codebooks.shape,
    });
  }
  const shape = [outGroups * outGroup, inGroups * inGroup];
  const scheme: Scheme = {
    name: 'lookup',
    version: 1,
    grid: { type: 'lookup', bits: Math.ceil(Math.log2(entries * outGroup)), vectorLength: inGroup, stages },
    granularity: { type: 'axis', axis: 0 },
  };
  const read = (parts: { readonly [name in 'codes' | 'codebooks' | 'scales']?: PackedTensor }): QuantizedTensor => {
    const vectors = decode(parts.codebooks as PackedTensor<DType>);
    const q: QuantizedTensor = {
      kind: 'quantized',
      shape,
      scheme,
      parts: {
        codes: rowCodes(parts.codes as PackedTensor<'i16'>, entries, outGroup),
        scales: rowScales(parts.scales as PackedTensor<'f16'>, outGroup),
        codebook: tensor(vectors, [stages * entries * outGroup, inGroup]),
      },
    };
    validateQuantized(q, `${WHERE}: ${base}`);
    return q;
  };
  return storedWeight({
    layout: WHERE,
    name: `${base}.weight`,
    shape,
    scheme,
    parts: { codes, codebooks, scales },
    decode: read,
  });
}

/** Codes `[stages, out, in / in_group]` from `[out / out_group, in / in_group, stages]`: entry `code`, row `row` of its vector. */
function rowCodes(
  stored: PackedTensor<'i8' | 'i16'>,
  entries: number,
  outGroup: number,
): Tensor<Uint8Array | Uint16Array> {
  const [outGroups, inGroups, stages] = stored.shape as readonly [number, number, number];
  const signed = nativeData(stored);
  const rows = outGroups * outGroup;
  const codes = new (entries * outGroup > 256 ? Uint16Array : Uint8Array)(stages * rows * inGroups);
  for (let stage = 0, at = 0; stage < stages; stage++) {
    for (let row = 0; row < rows; row++) {
      const from = Math.floor(row / outGroup) * inGroups;
      for (let group = 0; group < inGroups; group++) {
        const code = (signed[(from + group) * stages + stage] as number) & (entries - 1);
        codes[at++] = code * outGroup + (row % outGroup);
      }
    }
  }
  return tensor(codes, stages > 1 ? [stages, rows, inGroups] : [rows, inGroups]);
}

function rowScales(stored: PackedTensor<DType>, outGroup: number): PackedTensor<DType> | Tensor<Float32Array> {
  const groups = stored.shape[0] as number;
  if (outGroup === 1) return packed(stored.dtype, [groups], stored.bytes);
  const values = decode(stored);
  return tensor(
    Float32Array.from({ length: groups * outGroup }, (_, row) => values[Math.floor(row / outGroup)] as number),
  );
}

function split(name: string, weight: QuantizedTensor): SplitWeight {
  const base = moduleName(name, WHERE);
  const { shape, scheme, parts } = weight;
  const { grid, granularity } = scheme;
  if (grid.type !== 'lookup' || grid.signs) {
    return fail('UNSUPPORTED', `${name}: AQLM holds sums of codebook vectors without signs`, { grid });
  }
  if (shape.length !== 2) fail('UNSUPPORTED', `${name}: shape [${shape}] is not a matrix [out, in]`, { shape });
  refuseSideParts(weight, WHERE);
  if (parts.offsets !== undefined) fail('UNSUPPORTED', `${name}: AQLM has no offsets`, { name });
  const perRow = granularity.type === 'tensor' || (granularity.type === 'axis' && granularity.axis === 0);
  if (!perRow) fail('UNSUPPORTED', `${name}: AQLM has one scale for each row`, { granularity });
  const [rows, columns] = shape as readonly [number, number];
  const { bits, stages, vectorLength } = grid;
  const given = parts.scales && toFloat32(parts.scales as Tensor);
  const scales = Float32Array.from({ length: rows }, (_, row) => {
    const scale = given === undefined ? 1 : (given[granularity.type === 'tensor' ? 0 : row] as number);
    return scale * (parts.globalScale ?? 1);
  });
  return {
    tensors: new Map<string, PackedTensor>([
      [`${base}.codes`, storedCodes(weight, columns / vectorLength, name)],
      [
        `${base}.codebooks`,
        storedCodebooks(parts.codebook as Tensor<Float32Array>, 2 ** bits, stages, vectorLength, name),
      ],
      [`${base}.scales`, exactFloats(scales, FLOATS, [rows, 1, 1, 1], `${name}: scales`, WHERE)],
    ]),
    settings: { nbits_per_codebook: bits, num_codebooks: stages, in_group_size: vectorLength, out_group_size: 1 },
  };
}

/** `[out, in / in_group, stages]` from `[stages, out, in / in_group]`, in two's complement. */
function storedCodes({ shape, scheme, parts }: QuantizedTensor, inGroups: number, name: string): PackedTensor {
  const { bits, stages } = scheme.grid as { readonly bits: number; readonly stages: number };
  const entries = (parts.codebook as Tensor).shape.reduce((product, n) => product * n, 1);
  const limit = entries / stages / ((shape[1] as number) / inGroups);
  const codes = unpackCodes(parts.codes);
  const rows = shape[0] as number;
  const vectors = rows * inGroups;
  const stored = bits > 8 ? new Int16Array(codes.length) : new Int8Array(codes.length);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] as number;
    if (!(code >= 0 && code < limit)) {
      throw new HalftoneError('RANGE', `${name}: code ${code} at ${i} is not an entry of the codebook`, {
        where: WHERE,
      });
    }
    stored[(i % vectors) * stages + Math.floor(i / vectors)] = code >= 2 ** (bits - 1) ? code - 2 ** bits : code;
  }
  return packed(bits > 8 ? 'i16' : 'i8', [rows, inGroups, stages], new Uint8Array(stored.buffer));
}

/** Codebooks filled up to their full length with zeros. */
function storedCodebooks(
  codebook: Tensor<Float32Array>,
  full: number,
  stages: number,
  length: number,
  name: string,
): PackedTensor {
  const values = contiguousData(codebook);
  const size = values.length / stages;
  const padded = new Float32Array(stages * full * length);
  for (let stage = 0; stage < stages; stage++) {
    padded.set(values.subarray(stage * size, (stage + 1) * size), stage * full * length);
  }
  return exactFloats(padded, FLOATS, [stages, full, 1, length], `${name}: codebooks`, WHERE);
}

function config(weights: ReadonlyMap<string, JsonObject>, plain: readonly string[]): JsonObject {
  const keys = ['nbits_per_codebook', 'num_codebooks', 'in_group_size', 'out_group_size'];
  const settings = Object.fromEntries(keys.map((key) => [key, commonSetting<number>(weights, key, WHERE)]));
  const skipped =
    weights.has('lm_head.weight') || plain.includes('lm_head.weight') ? plain : [...plain, 'lm_head.weight'];
  return { quantization_config: { quant_method: WHERE, ...settings, linear_weights_not_to_quantize: skipped } };
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string, details: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where: WHERE, details });
}
