import { layerNorm, rmsNorm } from '@halftone/norms';
import {
  type BlockGraph,
  HalftoneError,
  type KernelBackend,
  type KvCache,
  type KvView,
  type NormNode,
  throwIfAborted,
  type UploadedLinear,
} from '@halftone/tensor';
import { activate } from './activation.js';
import { attend } from './attention.js';
import type { ModelConfig } from './config.js';
import { type Scratch, scratch } from './internal/scratch.js';
import type { ModelSource } from './model-source.js';
import { type Rope, rope } from './rope.js';
import type { Taps } from './taps.js';
import { type LoadOptions, loadLinear, loadVector } from './weights.js';

/** What one forward pass of a block needs besides the hidden states. */
export interface BlockContext {
  /** Position of each row in the sequence, increasing. */
  readonly positions: Int32Array;
  /** Receives the new keys and values, and gives all to attend to. Without one, rows attend to each other alone. */
  readonly cache?: KvCache;
  readonly taps?: Taps;
  readonly signal?: AbortSignal;
}

/** A transformer block whose weights are loaded. */
export interface Block {
  readonly graph: BlockGraph;
  /** Bytes of its weights as the backend holds them. */
  readonly byteLength: number;
  /** Transforms `hidden`, `[positions.length, hiddenSize]` row-major, in place. */
  run(hidden: Float32Array, context: BlockContext): Promise<void>;
  /** Frees the weights. */
  dispose(): void;
}

/** Buffers and tables that the blocks of one model share. Blocks that share one must not run at the same time. */
export interface Workspace {
  readonly buffers: Scratch;
  readonly rope?: Rope;
}

export function workspace(config: ModelConfig): Workspace {
  return { buffers: scratch(), rope: config.rope && rope(config.rope, config.headDim) };
}

export interface LoadBlockOptions extends LoadOptions {
  /** Default: an own one. */
  readonly workspace?: Workspace;
}

type NormRuntime = (x: Float32Array, rows: number, out: Float32Array) => void;

/** What the parts of one loaded block share. */
interface LoadedBlock extends Workspace {
  readonly config: ModelConfig;
  readonly graph: BlockGraph;
  readonly backend: KernelBackend;
  /** By the names of their nodes; empty after `dispose`. */
  readonly linears: Map<string, UploadedLinear>;
  readonly norms: ReadonlyMap<string, NormRuntime>;
}

/**
 * Loads block `index` alone, one weight at a time, so that a model larger than memory can be run block by block.
 * Throws `RANGE` for an index that the model lacks. Call `dispose` when done.
 */
export async function loadBlock(
  source: ModelSource,
  index: number,
  backend: KernelBackend,
  options: LoadBlockOptions = {},
): Promise<Block> {
  const { config } = source;
  const graph = source.graph.blocks[index];
  if (graph === undefined) {
    throw new HalftoneError('RANGE', `there is no block ${index}; the model has ${config.layers}`, {
      where: 'loadBlock',
      details: { index },
    });
  }
  const linears = new Map<string, UploadedLinear>();
  const norms = new Map<string, NormRuntime>();
  const release = () => {
    for (const linear of linears.values()) backend.release(linear);
    linears.clear();
  };
  try {
    for (const node of graph.norms) norms.set(node.name, await loadNorm(source, node, options));
    for (const node of graph.linears) {
      throwIfAborted(options.signal, 'loadBlock');
      linears.set(node.name, await loadLinear(source, node, backend, options));
    }
  } catch (error) {
    release();
    throw error;
  }
  const loaded: LoadedBlock = { ...(options.workspace ?? workspace(config)), config, graph, backend, linears, norms };
  return {
    graph,
    byteLength: [...linears.values()].reduce((sum, linear) => sum + linear.byteLength, 0),
    run: (hidden, context) => runBlock(loaded, hidden, context),
    dispose: release,
  };
}

async function runBlock(block: LoadedBlock, hidden: Float32Array, context: BlockContext): Promise<void> {
  const { hiddenSize } = block.config;
  const { index } = block.graph;
  const rows = context.positions.length;
  if (hidden.length < rows * hiddenSize) {
    throw new HalftoneError('SHAPE', `${rows} rows of ${hiddenSize} need more than ${hidden.length} values`, {
      where: 'block',
    });
  }
  throwIfAborted(context.signal, 'block');
  await context.taps?.onBlockInput?.(index, hidden, rows);
  await addAttention(block, hidden, rows, context);
  await addMlp(block, hidden, rows, context);
  await context.taps?.onBlockOutput?.(index, hidden, rows);
}

async function addAttention(
  block: LoadedBlock,
  hidden: Float32Array,
  rows: number,
  context: BlockContext,
): Promise<void> {
  const { config, graph, norms, rope, buffers } = block;
  const { hiddenSize, heads, kvHeads, headDim } = config;
  const { positions, cache } = context;
  const input = normed(block, 'attention.norm', hidden, rows);
  const [query, key, value] = await queryKeyValue(block, input, rows, context);
  norms.get('attention.queryNorm')?.(query, rows * heads, query);
  norms.get('attention.keyNorm')?.(key, rows * kvHeads, key);
  rope?.rotate(query, positions, heads);
  rope?.rotate(key, positions, kvHeads);

  const width = kvHeads * headDim;
  cache?.append(graph.index, key.subarray(0, rows * width), value.subarray(0, rows * width), positions);
  const view = (kvHead: number): KvView =>
    cache === undefined
      ? ownView(key, value, positions, kvHead, kvHeads, headDim, buffers)
      : cache.view(graph.index, kvHead);
  const mixed = buffers.float32('attention.context', rows * heads * headDim);
  attend({ heads, kvHeads, headDim, window: config.windows[graph.index] }, query, positions, view, mixed, buffers);
  addTo(hidden, await projected(block, 'attention.output', mixed, rows, context), rows * hiddenSize);
}

async function queryKeyValue(
  block: LoadedBlock,
  input: Float32Array,
  rows: number,
  context: BlockContext,
): Promise<[Float32Array, Float32Array, Float32Array]> {
  const { heads, kvHeads, headDim } = block.config;
  if (block.graph.linears.some(({ name }) => name === 'attention.qkv')) {
    const fused = await projected(block, 'attention.qkv', input, rows, context);
    return split(fused, rows, [heads * headDim, kvHeads * headDim, kvHeads * headDim], block.buffers);
  }
  return [
    await projected(block, 'attention.query', input, rows, context),
    await projected(block, 'attention.key', input, rows, context),
    await projected(block, 'attention.value', input, rows, context),
  ];
}

async function addMlp(block: LoadedBlock, hidden: Float32Array, rows: number, context: BlockContext): Promise<void> {
  const { intermediateSize, activation, gatedMlp, hiddenSize } = block.config;
  const input = normed(block, 'mlp.norm', hidden, rows);
  const gate = gatedMlp ? await projected(block, 'mlp.gate', input, rows, context) : undefined;
  const up = await projected(block, 'mlp.up', input, rows, context);
  if (gate === undefined) activate(activation, up, rows * intermediateSize);
  else activate(activation, gate, rows * intermediateSize, up);
  addTo(hidden, await projected(block, 'mlp.down', gate ?? up, rows, context), rows * hiddenSize);
}

/** The input of the next linears: valid until the next norm of the model. */
function normed({ config, norms, buffers }: LoadedBlock, name: string, x: Float32Array, rows: number): Float32Array {
  const out = buffers.float32('normed', rows * config.hiddenSize);
  norms.get(name)?.(x, rows, out);
  return out;
}

/** A linear's output: valid until the linear of that name runs again, in any block of the model. */
async function projected(
  { graph, backend, linears, buffers }: LoadedBlock,
  name: string,
  x: Float32Array,
  rows: number,
  { taps }: BlockContext,
): Promise<Float32Array> {
  const weight = linears.get(name);
  if (weight === undefined) throw new HalftoneError('DEVICE', `block ${graph.index} was disposed`, { where: 'block' });
  const out = buffers.float32(name, rows * weight.outFeatures);
  await runLinear(backend, weight, graph.index, name, x, rows, out, taps);
  return out;
}

/** Runs one linear layer between its taps. */
export async function runLinear(
  backend: KernelBackend,
  weight: UploadedLinear,
  block: number,
  name: string,
  x: Float32Array,
  rows: number,
  out: Float32Array,
  taps: Taps | undefined,
): Promise<void> {
  await taps?.onLinearInput?.(block, name, x, rows);
  await backend.linear(weight, x, rows, out);
  await taps?.onLinearOutput?.(block, name, out, rows);
}

/** A norm with its parameters: `out` may be `x`. */
export async function loadNorm(source: ModelSource, node: NormNode, options: LoadOptions): Promise<NormRuntime> {
  const { features, epsilon } = node;
  const gain = await loadVector(source, node.gain, features, options);
  const bias = node.bias === undefined ? undefined : await loadVector(source, node.bias, features, options);
  return node.kind === 'rms'
    ? (x, rows, out) => rmsNorm(x, rows, features, gain, epsilon, out)
    : (x, rows, out) => layerNorm(x, rows, features, gain, bias, epsilon, out);
}

function addTo(hidden: Float32Array, update: Float32Array, length: number): void {
  for (let i = 0; i < length; i++) hidden[i] += update[i];
}

/** Cuts rows of `[query | key | value]` into three arrays. */
function split(
  fused: Float32Array,
  rows: number,
  widths: readonly number[],
  buffers: Scratch,
): [Float32Array, Float32Array, Float32Array] {
  const total = widths[0] + widths[1] + widths[2];
  const parts = widths.map((width, part) => buffers.float32(`attention.qkv.${part}`, rows * width));
  for (let row = 0; row < rows; row++) {
    let from = row * total;
    for (const [part, width] of widths.entries()) {
      parts[part].set(fused.subarray(from, from + width), row * width);
      from += width;
    }
  }
  return parts as [Float32Array, Float32Array, Float32Array];
}

/** The keys and values in flight, of one head, as a cache would give them. */
function ownView(
  keys: Float32Array,
  values: Float32Array,
  positions: Int32Array,
  kvHead: number,
  kvHeads: number,
  headDim: number,
  buffers: Scratch,
): KvView {
  const length = positions.length;
  const headKeys = buffers.float32('headKeys', length * headDim);
  const headValues = buffers.float32('headValues', length * headDim);
  for (let row = 0; row < length; row++) {
    const from = (row * kvHeads + kvHead) * headDim;
    headKeys.set(keys.subarray(from, from + headDim), row * headDim);
    headValues.set(values.subarray(from, from + headDim), row * headDim);
  }
  return { length, keys: headKeys, values: headValues, positions };
}
