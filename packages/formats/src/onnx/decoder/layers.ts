import { HalftoneError, type LazyQuantizedTensor } from '@halftone/tensor';
import { matMulNBitsForm } from '../matmul-nbits.js';
import { qdqForm } from '../qdq.js';
import { type FoundWeight, type FoundWeights, WHERE } from './decoder-weights.js';
import { type Attributes, float, type GraphBuilder, int, string } from './graph-builder.js';
import type { OnnxWeightMode } from './parts.js';

/** What the layers of one model share. */
export interface LayerContext {
  readonly graph: GraphBuilder;
  readonly weights: FoundWeights;
  readonly mode: OnnxWeightMode;
  /** `stored` keeps f16 and bf16 in the file and widens them when the model is loaded or rows are looked up. */
  readonly floats: 'f32' | 'stored';
  readonly accuracyLevel: number;
  /** GPT-2's linear weights lie `[in, out]`. */
  readonly conv1dTransposed: boolean;
}

/** `y = x W^T + b` on rows: `[rows, in]` to `[rows, out]`. GPT-2's Conv1D weights are used as they lie. */
export function linear(context: LayerContext, name: string, layer: string, x: string, conv1d = false): string {
  const { graph } = context;
  const weight = found(context, `${layer}.weight`);
  const bias = context.weights.has(`${layer}.bias`) ? floatWeight(context, `${layer}.bias`) : undefined;
  if (weight.type === 'quantized' && context.mode === 'matmul-nbits') {
    const product = matMulNBits(context, name, weight.tensor, `${layer}.weight`, x);
    return bias === undefined ? product : graph.node('Add', `${name}.biased`, [product, bias]);
  }
  const quantized = weight.type === 'quantized';
  const matrix = quantized
    ? dequantizeLinear(context, weight.tensor, `${layer}.weight`)
    : floatWeight(context, `${layer}.weight`);
  const inputs = bias === undefined ? [x, matrix] : [x, matrix, bias];
  return graph.node('Gemm', name, inputs, { transB: int(conv1d && context.conv1dTransposed && !quantized ? 0 : 1) });
}

function matMulNBits(
  { graph, accuracyLevel }: LayerContext,
  name: string,
  tensor: LazyQuantizedTensor,
  weight: string,
  x: string,
): string {
  const { N, K, bits, blockSize, blocks, zeroPoints } = matMulNBitsForm(tensor.scheme, tensor.shape);
  const mode = 'matmul-nbits';
  const codes = { from: 'codes', mode, tensor } as const;
  const inputs = [
    x,
    graph.weight({ name: `${weight}_quantized`, dtype: 'u8', shape: [N, blocks, (blockSize * bits) / 8], part: codes }),
    graph.weight({ name: `${weight}_scales`, dtype: 'f32', shape: [N * blocks], part: { ...codes, from: 'scales' } }),
  ];
  if (zeroPoints) {
    const shape = [N * Math.ceil((blocks * bits) / 8)];
    const part = { ...codes, from: 'zeroPoints' } as const;
    inputs.push(graph.weight({ name: `${weight}_zero_points`, dtype: 'u8', shape, part }));
  }
  return graph.microsoft('MatMulNBits', name, inputs, {
    K: int(K),
    N: int(N),
    bits: int(bits),
    block_size: int(blockSize),
    ...(accuracyLevel === 0 ? {} : { accuracy_level: int(accuracyLevel) }),
  });
}

function dequantizeLinear({ graph }: LayerContext, tensor: LazyQuantizedTensor, weight: string): string {
  const { dtype, shape, blockSize, scaleShape, zeroPoints } = qdqForm(tensor.scheme, tensor.shape);
  const codes = { from: 'codes', mode: 'qdq', tensor } as const;
  const inputs = [
    graph.weight({ name: `${weight}_quantized`, dtype, shape, part: codes }),
    graph.weight({ name: `${weight}_scales`, dtype: 'f32', shape: scaleShape, part: { ...codes, from: 'scales' } }),
  ];
  if (zeroPoints) {
    const part = { ...codes, from: 'zeroPoints' } as const;
    inputs.push(graph.weight({ name: `${weight}_zero_points`, dtype, shape: scaleShape, part }));
  }
  const groups: Attributes = blockSize === 0 ? { axis: int(0) } : { axis: int(1), block_size: int(blockSize) };
  return graph.node('DequantizeLinear', `${weight}.values`, inputs, groups);
}

/** Rows of an embedding table `[rows, features]`, as f32. */
export function lookUp(context: LayerContext, name: string, table: string, indices: string): string {
  const { graph } = context;
  const { input, widened } = storedFloats(context, table);
  const rows = graph.node('Gather', name, [input, indices]);
  return widened ? graph.node('Cast', `${name}.f32`, [rows], { to: int(1) }) : rows;
}

/** A float weight as f32, whatever it is stored in. */
export function floatWeight(context: LayerContext, weight: string): string {
  const { input, widened } = storedFloats(context, weight);
  return widened ? context.graph.node('Cast', `${weight}.f32`, [input], { to: int(1) }) : input;
}

function storedFloats(context: LayerContext, weight: string): { input: string; widened: boolean } {
  const source = found(context, weight);
  if (source.type === 'quantized') {
    const { tensor } = source;
    const part = { from: 'values', tensor } as const;
    return { input: context.graph.weight({ name: weight, dtype: 'f32', shape: tensor.shape, part }), widened: false };
  }
  const { tensor, dtype: stored } = source;
  const dtype = context.floats === 'stored' ? stored : 'f32';
  const part = { from: 'tensor', tensor } as const;
  const input = context.graph.weight({ name: weight, dtype, shape: tensor.shape, part });
  return { input, widened: dtype !== 'f32' };
}

function found({ weights }: LayerContext, name: string): FoundWeight {
  const weight = weights.get(name);
  if (weight !== undefined) return weight;
  throw new HalftoneError('FORMAT', `${name}: the checkpoint has no such tensor`, {
    where: WHERE,
    details: { tensor: name },
  });
}

/** `x / sqrt(mean(x^2) + epsilon) * gain` over the last axis. ONNX Runtime fuses this pattern into one kernel. */
export function rmsNorm(context: LayerContext, name: string, weight: string, x: string, epsilon: number): string {
  const { graph } = context;
  const squares = graph.node('Pow', `${name}.squares`, [x, graph.scalar(2)]);
  const mean = graph.node('ReduceMean', `${name}.mean`, [squares, graph.ints(-1)], { keepdims: int(1) });
  const shifted = graph.node('Add', `${name}.shifted`, [mean, graph.scalar(epsilon)]);
  const root = graph.node('Sqrt', `${name}.root`, [shifted]);
  const scaled = graph.node('Div', `${name}.scaled`, [x, root]);
  return graph.node('Mul', name, [scaled, floatWeight(context, weight)]);
}

export function layerNorm(context: LayerContext, name: string, layer: string, x: string, epsilon: number): string {
  const inputs = [x, floatWeight(context, `${layer}.weight`), floatWeight(context, `${layer}.bias`)];
  return context.graph.node('LayerNormalization', name, inputs, { axis: int(-1), epsilon: float(epsilon) });
}

/** GELU with the tanh approximation. */
export function gelu(context: LayerContext, name: string, x: string): string {
  return context.graph.node('Gelu', name, [x], { approximate: string('tanh') });
}
