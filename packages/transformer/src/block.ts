import {
  type Awaitable,
  type BlockGraph,
  HalftoneError,
  type KernelBackend,
  type KvCache,
  throwIfAborted,
  type UploadedLinear,
} from '@halftone/tensor';
import { blockSteps, runSteps, type Step } from './internal/block-steps.js';
import { loadNorm, type NormLayer } from './internal/norm-layer.js';
import type { ModelSource } from './model-source.js';
import type { Taps } from './taps.js';
import { type LoadOptions, loadLinear } from './weights.js';
import { type Workspace, workspace } from './workspace.js';

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
  /**
   * Transforms `hidden`, `[positions.length, hiddenSize]` row-major, in place. Returns a promise only where the backend or a
   * tap does. Throws `DEVICE` after `dispose`.
   */
  run(hidden: Float32Array, context: BlockContext): Awaitable<void>;
  /** Frees the weights. */
  dispose(): void;
}

export interface LoadBlockOptions extends LoadOptions {
  /** Of the same backend. Default: an own one. */
  readonly workspace?: Workspace;
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
  const place = options.workspace ?? workspace(config, backend);
  const linears = new Map<string, UploadedLinear>();
  const norms = new Map<string, NormLayer>();
  let steps: readonly Step[] | undefined;
  const dispose = () => {
    steps = undefined;
    for (const linear of linears.values()) backend.release(linear);
    linears.clear();
    for (const norm of norms.values()) norm.dispose();
    norms.clear();
    if (options.workspace === undefined) place.dispose();
  };
  try {
    for (const node of graph.norms) norms.set(node.name, await loadNorm(source, node, place.kernels, options));
    for (const node of graph.linears) {
      throwIfAborted(options.signal, 'loadBlock');
      linears.set(node.name, await loadLinear(source, node, backend, options));
    }
  } catch (error) {
    dispose();
    throw error;
  }
  const byteLength = [...linears.values()].reduce((sum, linear) => sum + linear.byteLength, 0);
  steps = blockSteps({ config, index, backend, workspace: place, linears, norms });
  return {
    graph,
    byteLength,
    run(hidden, context) {
      if (steps === undefined) {
        throw new HalftoneError('DEVICE', `block ${index} was disposed; load it again`, { where: 'block' });
      }
      return runBlock(steps, index, hidden, config.hiddenSize, context);
    },
    dispose,
  };
}

function runBlock(
  steps: readonly Step[],
  index: number,
  hidden: Float32Array,
  hiddenSize: number,
  context: BlockContext,
): Awaitable<void> {
  const rows = context.positions.length;
  if (hidden.length < rows * hiddenSize) {
    throw new HalftoneError('SHAPE', `${rows} rows of ${hiddenSize} need more than ${hidden.length} values`, {
      where: 'block',
    });
  }
  throwIfAborted(context.signal, 'block');
  if (context.taps === undefined) return runSteps(steps, hidden, rows, context);
  return runTapped(steps, index, hidden, rows, context, context.taps);
}

async function runTapped(
  steps: readonly Step[],
  index: number,
  hidden: Float32Array,
  rows: number,
  context: BlockContext,
  taps: Taps,
): Promise<void> {
  await taps.onBlockInput?.(index, hidden, rows);
  await runSteps(steps, hidden, rows, context);
  await taps.onBlockOutput?.(index, hidden, rows);
}
