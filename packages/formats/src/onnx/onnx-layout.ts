import {
  type Checkpoint,
  elementCount,
  HalftoneError,
  isDType,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  type ReadOptions,
  type Scheme,
  sameShape,
  type WeightLayout,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { type MatMulNBitsForm, matMulNBitsScheme, unpackMatMulNBits } from './matmul-nbits.js';
import type { OnnxNode } from './model.js';
import { isOnnxCheckpoint, type OnnxCheckpoint } from './onnx-checkpoint.js';

const WHERE = 'onnx-layout';
const LARGEST_SIDE = 2 ** 31;
const LARGEST_BLOCK = 2 ** 16;

/**
 * The quantized matrices of an ONNX model, joined from the initializers of its MatMulNBits and DequantizeLinear nodes.
 * They are named after the initializer with the codes, less the endings `_quantized`, `_quant`, `_Q4` and `_Q8`; a
 * model that was written by `writeOnnxDecoder` gives back the names of its checkpoint. Only read.
 *
 * MatMulNBits weights are `[out, in]`; those of DequantizeLinear have the shape in which they are stored, which before
 * a MatMul is `[in, out]`. Nodes count where the codes of a matrix and their scales are initializers; what other nodes
 * compute is left as it is. `g_idx` and float zero points throw `UNSUPPORTED`, sizes that contradict each other
 * `FORMAT`.
 */
export const onnxLayout: WeightLayout = {
  name: 'onnx',
  detect: (checkpoint) =>
    isOnnxCheckpoint(checkpoint) && checkpoint.onnx.graph.nodes.some((node) => isQuantizedNode(node)),
  weights(checkpoint) {
    const weights = new Map<string, LazyQuantizedTensor>();
    if (!isOnnxCheckpoint(checkpoint)) return weights;
    // Tools merge equal initializers: a tensor that two weights share belongs to the first, and is read by both.
    const claimed = new Set<string>();
    const done = new Set<string>();
    for (const node of checkpoint.onnx.graph.nodes) {
      if (!isQuantizedNode(node)) continue;
      const found = node.opType === 'MatMulNBits' ? matMulNBits(checkpoint, node) : dequantizeLinear(checkpoint, node);
      if (found === undefined || done.has(found.codes.name)) continue;
      done.add(found.codes.name);
      const weight = joined(found, claimed, checkpoint.tensors);
      if (weights.has(weight.name)) fail('FORMAT', `${weight.name}: two quantized weights have this name`, node);
      weights.set(weight.name, weight);
    }
    return weights;
  },
};

function isQuantizedNode({ opType, domain }: OnnxNode): boolean {
  return opType === 'MatMulNBits' ? domain === 'com.microsoft' : opType === 'DequantizeLinear';
}

/** The initializers of one weight, and how they become a tensor. */
interface FoundParts {
  readonly codes: LazyTensor;
  readonly scales: LazyTensor;
  readonly zeroPoints?: LazyTensor;
  readonly shape: readonly [number, number];
  readonly scheme: Scheme;
  read(options: ReadOptions): ReturnType<LazyQuantizedTensor['read']>;
}

function joined(
  { codes, scales, zeroPoints, shape, scheme, read }: FoundParts,
  claimed: Set<string>,
  stored: Checkpoint['tensors'],
): LazyQuantizedTensor {
  const parts = [codes, scales, ...(zeroPoints === undefined ? [] : [zeroPoints])];
  const own = parts.filter(({ name }) => !claimed.has(name));
  for (const { name } of own) claimed.add(name);
  const base = codes.name.replace(/(_quantized|_quant|_Q[48])$/, '');
  return {
    kind: 'lazy-quantized',
    // A tied head may be quantized beside its embedding, whose name it then cannot have.
    name: stored.has(base) ? codes.name : base,
    shape,
    scheme,
    layout: 'onnx',
    stored: own.map(({ name }) => name),
    byteLength: own.reduce((sum, { byteLength }) => sum + byteLength, 0),
    read: (options = {}) => read(options),
  };
}

function matMulNBits({ tensors }: OnnxCheckpoint, node: OnnxNode): FoundParts | undefined {
  const [, B, scaleName = '', zeroName = '', groupIndex = ''] = node.inputs;
  const codes = tensors.get(B ?? '');
  const scales = tensors.get(scaleName);
  const zeroPoints = tensors.get(zeroName);
  if (codes === undefined || scales === undefined) return undefined;
  if (groupIndex !== '') fail('UNSUPPORTED', `${codes.name}: g_idx is not read; undo the column order first`, node);
  if (zeroName !== '' && zeroPoints === undefined) return undefined;
  if (zeroPoints !== undefined && zeroPoints.dtype !== 'u8') {
    fail('UNSUPPORTED', `${codes.name}: zero points of ${zeroPoints.dtype} are not read, only packed ones`, node);
  }
  const { dtype } = scales;
  if (codes.dtype !== 'u8' || (dtype !== 'f32' && dtype !== 'f16')) {
    fail('UNSUPPORTED', `${codes.name}: codes of ${codes.dtype} with scales of ${dtype} are not read`, node);
  }
  const form = nodeForm(node, codes.name, zeroPoints !== undefined);
  const { N, blocks, blockSize, bits } = form;
  const expected: [LazyTensor | undefined, number][] = [
    [codes, (N * blocks * blockSize * bits) / 8],
    [scales, N * blocks],
    [zeroPoints, N * Math.ceil((blocks * bits) / 8)],
  ];
  for (const [tensor, count] of expected) {
    if (tensor !== undefined && elementCount(tensor.shape) !== count) {
      fail(
        'FORMAT',
        `${tensor.name}: shape [${tensor.shape}] does not fit its node, which asks for ${count} elements`,
        node,
      );
    }
  }
  return {
    codes,
    scales,
    zeroPoints,
    shape: [form.N, form.K],
    scheme: matMulNBitsScheme(form.bits, form.blockSize, form.zeroPoints),
    async read(options) {
      const [blocks, factors, zeros] = await readAll([codes, scales, zeroPoints], options);
      const parts = { form, B: blocks as PackedTensor, scales: factors as PackedTensor<'f32'> };
      return unpackMatMulNBits(zeros === undefined ? parts : { ...parts, zeroPoints: zeros });
    },
  };
}

function nodeForm(node: OnnxNode, name: string, zeroPoints: boolean): MatMulNBitsForm {
  const whole = (key: string, most: number, fallback?: number): number => {
    const attribute = node.attributes.get(key);
    const value = attribute?.type === 'int' ? attribute.value : fallback;
    if (typeof value === 'number' && value >= 1 && value <= most) return value;
    return fail('FORMAT', `${name}: attribute ${key} of its node is ${String(value)}`, node);
  };
  const bits = whole('bits', 8, 4);
  const blockSize = whole('block_size', LARGEST_BLOCK);
  const N = whole('N', LARGEST_SIDE);
  const K = whole('K', LARGEST_SIDE);
  if (bits !== 2 && bits !== 4 && bits !== 8) fail('UNSUPPORTED', `${name}: codes of ${bits} bits are not read`, node);
  if (blockSize < 16 || !Number.isInteger(Math.log2(blockSize))) {
    fail('FORMAT', `${name}: block_size ${blockSize} is not a power of two from 16`, node);
  }
  return { N, K, bits, blockSize, blocks: Math.ceil(K / blockSize), zeroPoints };
}

const CODE_TYPES: ReadonlySet<string> = new Set(['i8', 'u8', 'i4', 'u4', 'i2', 'u2']);

function dequantizeLinear({ tensors }: OnnxCheckpoint, node: OnnxNode): FoundParts | undefined {
  const [codeName = '', scaleName = '', zeroName = ''] = node.inputs;
  const codes = tensors.get(codeName);
  const scales = tensors.get(scaleName);
  const zeroPoints = tensors.get(zeroName);
  if (codes === undefined || scales === undefined || (zeroName !== '' && zeroPoints === undefined)) return undefined;
  const { dtype, shape } = codes;
  if (shape.length !== 2 || !CODE_TYPES.has(dtype) || !isDType(scales.dtype)) return undefined;
  const granularity = nodeGranularity(node, shape, scales.shape);
  if (granularity === undefined || !['f32', 'f16', 'bf16'].includes(scales.dtype)) return undefined;
  const sameForm = zeroPoints?.dtype === dtype && sameShape(zeroPoints.shape, scales.shape);
  if (zeroPoints !== undefined && !sameForm) {
    fail(
      'FORMAT',
      `${codeName}: zero points ${zeroPoints.dtype} [${zeroPoints.shape}] do not fit ${dtype} codes`,
      node,
    );
  }
  const signed = dtype.startsWith('i');
  const scheme: Scheme = {
    name: 'affine',
    version: 1,
    grid: { type: 'affine', bits: Number(dtype.slice(1)), signed, symmetric: zeroPoints === undefined },
    granularity,
  };
  return {
    codes,
    scales,
    zeroPoints,
    shape: shape as [number, number],
    scheme,
    async read(options) {
      const [packed, factors, zeros] = await readAll([codes, scales, zeroPoints], options);
      const q = {
        kind: 'quantized' as const,
        shape,
        scheme,
        parts: {
          codes: packed as PackedTensor,
          scales: factors as PackedTensor,
          ...(zeros === undefined ? {} : { zeros }),
        },
      };
      validateQuantized(q);
      return q;
    },
  };
}

/** Undefined where the scales' shape fits none. */
function nodeGranularity(
  { attributes }: OnnxNode,
  shape: readonly number[],
  scales: readonly number[],
): Scheme['granularity'] | undefined {
  const attribute = (key: string, fallback: number) => {
    const found = attributes.get(key);
    return found?.type === 'int' ? Number(found.value) : fallback;
  };
  const given = attribute('axis', 1);
  const axis = given < 0 ? given + 2 : given;
  const size = attribute('block_size', 0);
  const along = shape[axis];
  if (size === 0 && scales.length === 0) return { type: 'tensor' };
  if (along === undefined || size < 0) return undefined;
  if (size === 0) return scales.length === 1 && scales[0] === along ? { type: 'axis', axis } : undefined;
  const expected = shape.map((n, i) => (i === axis ? Math.ceil(n / size) : n));
  return sameShape(scales, expected) ? { type: 'group', axis, size } : undefined;
}

function readAll(tensors: readonly (LazyTensor | undefined)[], { signal }: ReadOptions) {
  return Promise.all(tensors.map((tensor) => tensor?.read(undefined, { signal })));
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string, node: OnnxNode): never {
  throw new HalftoneError(code, message, { where: WHERE, details: { node: node.name } });
}
