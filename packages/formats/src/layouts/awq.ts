import {
  type Checkpoint,
  HalftoneError,
  type JsonObject,
  type LazyQuantizedTensor,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type SplitWeight,
  type WeightLayout,
} from '@halftone/tensor';
import { affineScheme, affineTensor, affineWeight, exactFloats, integerZeros } from './internal/affine-weight.js';
import { packWordRows, transposed, transposedCodes, unpackWordRows } from './internal/packed-words.js';
import { commonSetting, unquantizedModules } from './internal/runtime-config.js';
import { own, quantizationConfig, quantMethod, wholeSetting } from './internal/settings.js';
import { expectShape, matrixSides, moduleName, needPart, storedWeight } from './internal/weight-parts.js';

const WHERE = 'awq';
const BITS = 4;
/** Nibble `i` of a word holds column `ORDER[i]` of its eight. */
const ORDER: readonly number[] = [0, 2, 4, 6, 1, 3, 5, 7];

/**
 * AWQ checkpoints of AutoAWQ, transformers and vLLM, version GEMM: 4 bits, whole zeros.
 *
 * A layer `X` is `X.qweight` int32 `[in, out / 8]` and `X.qzeros` int32 `[groups, out / 8]`, both packed along the output in
 * the order 0 2 4 6 1 3 5 7, low-first, and `X.scales` f16 `[groups, out]`. Zeros are stored as they are.
 * `value = scale * (code - zero)`. AWQ's scaling of inputs is folded into the layers before and leaves no trace here.
 *
 * Written files always have zeros (`zero_point: true`, 8 for symmetric weights) and name plain layers and a plain head in
 * `modules_to_not_convert`. The versions GEMV, GEMV-fast, Marlin and the original llm-awq's are refused.
 */
export const awq: WeightLayout = {
  name: 'awq',
  detect(checkpoint, config) {
    const settings = quantizationConfig(config);
    const method = quantMethod(settings);
    const named = method === 'awq' || (method === undefined && own(settings, 'w_bit') !== undefined);
    return named && [...checkpoint.tensors].some(([name, { dtype }]) => name.endsWith('.qweight') && dtype === 'i32');
  },
  weights: readWeights,
  writer: { split, config: writeConfig },
};

function readWeights(checkpoint: Checkpoint, config?: JsonObject): Map<string, LazyQuantizedTensor> {
  const settings = quantizationConfig(config);
  const version = own(settings, 'version') ?? 'gemm';
  if (typeof version !== 'string' || version.toLowerCase() !== 'gemm') {
    fail('UNSUPPORTED', `version ${JSON.stringify(version)} is not read; gemm is`, { version });
  }
  const bits = wholeSetting(settings, ['bits', 'w_bit'], 1, 32, WHERE);
  if (bits !== BITS) fail('UNSUPPORTED', `${bits} bits are not read; ${BITS} are`, { bits });
  const groupSize = wholeSetting(settings, ['group_size', 'q_group_size'], -1, 2 ** 31, WHERE);
  if (groupSize === 0) fail('FORMAT', 'quantization_config: group_size is 0; it is -1 or a number of columns');
  const weights = new Map<string, LazyQuantizedTensor>();
  for (const name of checkpoint.tensors.keys()) {
    if (!name.endsWith('.qweight')) continue;
    const weight = lazyWeight(checkpoint, name.slice(0, -'.qweight'.length), Math.max(0, groupSize));
    weights.set(weight.name, weight);
  }
  return weights;
}

/** `groupSize` 0: one scale for each row. */
function lazyWeight(checkpoint: Checkpoint, base: string, groupSize: number): LazyQuantizedTensor {
  const qweight = needPart(checkpoint, `${base}.qweight`, ['i32'], WHERE);
  const qzeros = needPart(checkpoint, `${base}.qzeros`, ['i32'], WHERE);
  const scales = needPart(checkpoint, `${base}.scales`, ['f16', 'bf16', 'f32'], WHERE);
  const [columns, words] = matrixSides(qweight, WHERE);
  const rows = words * 8;
  const groups = groupSize === 0 ? 1 : Math.ceil(columns / groupSize);
  expectShape(scales, WHERE, [groups, rows]);
  expectShape(qzeros, WHERE, [groups, words]);
  return storedWeight({
    layout: 'awq',
    name: `${base}.weight`,
    shape: [rows, columns],
    scheme: affineScheme(BITS, groupSize),
    parts: { qweight, qzeros, scales },
    decode(parts) {
      const unpack = (part: PackedTensor | undefined, lines: number): Uint8Array => {
        const nibbles = unpackWordRows((part as PackedTensor).bytes, BITS, lines, rows);
        return transposedCodes(reorder(nibbles, 'natural'), lines, rows);
      };
      return affineTensor({
        rows,
        columns,
        bits: BITS,
        groupSize,
        codes: unpack(parts.qweight, columns),
        scales: transposed(parts.scales as PackedTensor<'f16'>),
        zeros: unpack(parts.qzeros, groups),
      });
    },
  });
}

function split(name: string, weight: QuantizedTensor): SplitWeight {
  const base = moduleName(name, WHERE);
  const affine = affineWeight(weight, WHERE);
  const { rows, columns, bits, groups, groupSize } = affine;
  const { granularity } = weight.scheme;
  if (bits !== BITS) fail('UNSUPPORTED', `${name}: codes of ${bits} bits; AWQ has ${BITS}`, { bits });
  if (affine.groupIndex !== undefined) {
    fail('UNSUPPORTED', `${name}: AWQ has no g_idx; its groups are runs of columns`, { name });
  }
  if (rows === 0 || columns === 0 || rows % 8 !== 0 || columns % groupSize !== 0) {
    fail(
      'UNSUPPORTED',
      `${name}: [${weight.shape}] is not whole words of 8 rows and whole groups of ${groupSize} columns`,
      {
        name,
        shape: weight.shape,
        groupSize,
      },
    );
  }
  const zeros = integerZeros(affine, WHERE);
  const scales = exactFloats(affine.scales, ['f16'], [rows, groups], `${name}: scales`, WHERE);
  const pack = (codes: Uint8Array, lines: number): PackedTensor => {
    const nibbles = reorder(transposedCodes(codes, rows, lines), 'stored');
    return packed('i32', [lines, rows / 8], packWordRows(nibbles, BITS, lines, rows));
  };
  return {
    tensors: new Map<string, PackedTensor>([
      [`${base}.qweight`, pack(affine.codes as Uint8Array, columns)],
      [`${base}.qzeros`, pack(zeros, groups)],
      [`${base}.scales`, transposed(scales)],
    ]),
    // A size beyond the columns means one scale for each row, which AWQ calls -1.
    settings: { bits, group_size: granularity.type === 'group' && granularity.size <= columns ? groupSize : -1 },
  };
}

/** Eights of codes from the order in a word to that of the columns, or back. */
function reorder(codes: Uint8Array, to: 'natural' | 'stored'): Uint8Array {
  const out = new Uint8Array(codes.length);
  for (let first = 0; first < codes.length; first += 8) {
    for (let i = 0; i < 8; i++) {
      const column = first + (ORDER[i] as number);
      if (to === 'natural') out[column] = codes[first + i] as number;
      else out[first + i] = codes[column] as number;
    }
  }
  return out;
}

function writeConfig(weights: ReadonlyMap<string, JsonObject>, plain: readonly string[]): JsonObject {
  if (weights.size === 0) return {};
  const group_size = commonSetting<number>(weights, 'group_size', WHERE);
  const skipped = unquantizedModules(weights, plain);
  for (const module of skipped) {
    const name = [...weights.keys()].find((candidate) => candidate.includes(module));
    if (name === undefined) continue;
    fail(
      'UNSUPPORTED',
      `runtimes leave every layer plain whose name contains ${module}, so ${name} cannot be quantized`,
      {
        plain: module,
        name,
      },
    );
  }
  return {
    quantization_config: {
      quant_method: 'awq',
      bits: BITS,
      group_size,
      zero_point: true,
      version: 'gemm',
      modules_to_not_convert: skipped.length === 0 ? null : skipped,
    },
  };
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string, details?: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where: WHERE, ...(details === undefined ? {} : { details }) });
}
