import { layerNorm, rmsNorm } from '@halftone/norms';
import {
  type BlockGraph,
  HalftoneError,
  type KernelBackend,
  type KvCache,
  type KvView,
  type LinearNode,
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
  const { buffers, rope } = options.workspace ?? workspace(config);
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
  const byteLength = [...linears.values()].reduce((sum, linear) => sum + linear.byteLength, 0);
  const nodes = new Map<string, LinearNode>(graph.linears.map((node) => [node.name, node]));

  async function linear(name: string, x: Float32Array, rows: number, { taps }: BlockContext): Promise<Float32Array> {
    const weight = linears.get(name);
    if (weight === undefined) throw new HalftoneError('DEVICE', `block ${index} was disposed`, { where: 'block' });
    const out = buffers.float32(name, rows * weight.outFeatures);
    await runLinear(backend, weight, index, name, x, rows, out, taps);
    return out;
  }

  function norm(name: string, x: Float32Array, rows: number, output: string): Float32Array {
    const out = buffers.float32(output, rows * config.hiddenSize);
    norms.get(name)?.(x, rows, out);
    return out;
  }

  async function attention(hidden: Float32Array, rows: number, context: BlockContext): Promise<void> {
    const { heads, kvHeads, headDim } = config;
    const { positions, cache } = context;
    const input = norm('attention.norm', hidden, rows, 'normed');
    let query: Float32Array;
    let key: Float32Array;
    let value: Float32Array;
    if (nodes.has('attention.qkv')) {
      const fused = await linear('attention.qkv', input, rows, context);
      const widths = [heads * headDim, kvHeads * headDim, kvHeads * headDim];
      [query, key, value] = split(fused, rows, widths, buffers);
    } else {
      query = await linear('attention.query', input, rows, context);
      key = await linear('attention.key', input, rows, context);
      value = await linear('attention.value', input, rows, context);
    }
    norms.get('attention.queryNorm')?.(query, rows * heads, query);
    norms.get('attention.keyNorm')?.(key, rows * kvHeads, key);
    rope?.rotate(query, positions, heads);
    rope?.rotate(key, positions, kvHeads);

    const width = kvHeads * headDim;
    cache?.append(index, key.subarray(0, rows * width), value.subarray(0, rows * width), positions);
    const view = (kvHead: number): KvView =>
      cache === undefined
        ? ownView(key, value, positions, kvHead, kvHeads, headDim, buffers)
        : cache.view(index, kvHead);
    const mixed = buffers.float32('attention.context', rows * heads * headDim);
    attend({ heads, kvHeads, headDim, window: config.windows[index] }, query, positions, view, mixed, buffers);
    addTo(hidden, await linear('attention.output', mixed, rows, context), rows * config.hiddenSize);
  }

  async function mlp(hidden: Float32Array, rows: number, context: BlockContext): Promise<void> {
    const { intermediateSize, activation, gatedMlp, hiddenSize } = config;
    const input = norm('mlp.norm', hidden, rows, 'normed');
    const gate = gatedMlp ? await linear('mlp.gate', input, rows, context) : undefined;
    const up = await linear('mlp.up', input, rows, context);
    if (gate === undefined) activate(activation, up, rows * intermediateSize);
    else activate(activation, gate, rows * intermediateSize, up);
    addTo(hidden, await linear('mlp.down', gate ?? up, rows, context), rows * hiddenSize);
  }

  return {
    graph,
    byteLength,
    async run(hidden, context) {
      const rows = context.positions.length;
      if (hidden.length < rows * config.hiddenSize) {
        throw new HalftoneError(
          'SHAPE',
          `${rows} rows of ${config.hiddenSize} need more than ${hidden.length} values`,
          { where: 'block' },
        );
      }
      throwIfAborted(context.signal, 'block');
      await context.taps?.onBlockInput?.(index, hidden, rows);
      await attention(hidden, rows, context);
      await mlp(hidden, rows, context);
      await context.taps?.onBlockOutput?.(index, hidden, rows);
    },
    dispose: release,
  };
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
