import { type FullCache, type FullCacheOptions, fullCache } from '@halftone/kv-cache';
import {
  type Awaitable,
  HalftoneError,
  type KernelBackend,
  type KvCache,
  type ModelGraph,
  type Tensor,
  tensor,
  throwIfAborted,
  type UploadedLinear,
  type WorkOptions,
} from '@halftone/tensor';
import { defaultBackend } from './backends/default.js';
import { type Block, type BlockContext, type LoadBlockOptions, loadBlock } from './block.js';
import { kvShape, type ModelConfig } from './config.js';
import { runLinear } from './internal/linear-layer.js';
import { loadNorm } from './internal/norm-layer.js';
import { consecutivePositions, nextPosition, sequencePositions } from './internal/positions.js';
import type { ModelSource } from './model-source.js';
import type { Taps } from './taps.js';
import { type LoadOptions, loadLinear, loadRows, type RowTable } from './weights.js';
import { type Workspace, workspace } from './workspace.js';

/** Token (and position) embeddings. */
export interface Embedding {
  readonly byteLength: number;
  /**
   * `[tokens.length, hiddenSize]` row-major, in `out` or a new array. Positions default to 0, 1, 2, ... Throws `RANGE` for
   * tokens outside the vocabulary and positions outside the context.
   */
  embed(tokens: ArrayLike<number>, positions?: ArrayLike<number>, out?: Float32Array): Float32Array;
}

/** The final norm and the projection to the vocabulary. */
export interface Head {
  readonly byteLength: number;
  /** Logits `[rows, vocabSize]` of the first `rows` rows of `hidden`, in `out` or a new array. `hidden` is left as it was. */
  run(
    hidden: Float32Array,
    rows: number,
    options?: { readonly taps?: Taps; readonly out?: Float32Array },
  ): Promise<Float32Array>;
  dispose(): void;
}

export interface ForwardOptions {
  /** Receives the new keys and values; the tokens continue the sequence that it holds. */
  readonly cache?: KvCache;
  /** Position of each token, increasing. Default: after the last position of the cache, else from 0. */
  readonly positions?: ArrayLike<number>;
  /** First token for which logits are computed. Default 0; `tokens.length - 1` gives the last alone. */
  readonly from?: number;
  readonly taps?: Taps;
  readonly signal?: AbortSignal;
  /** Receives the logits: at least `(tokens.length - from) * vocabSize` values. Default: a new array. */
  readonly out?: Float32Array;
}

export interface ModelOptions extends LoadOptions, WorkOptions {
  /** Default `defaultBackend()`, which the model then disposes of. */
  readonly backend?: KernelBackend;
}

/** A model in memory. One forward pass at a time: activations live in shared buffers. */
export interface TransformerModel extends Embedding {
  readonly config: ModelConfig;
  readonly graph: ModelGraph;
  readonly backend: KernelBackend;
  /** Bytes of all weights as they are held. */
  readonly byteLength: number;
  /** Runs one block on `hidden` in place. Returns a promise only where the backend or a tap does. */
  block(index: number, hidden: Float32Array, context: BlockContext): Awaitable<void>;
  head: Head['run'];
  /**
   * Logits `[tokens.length - from, vocabSize]` for one sequence: row `i` predicts the token after `tokens[from + i]`.
   * Throws `RANGE` for tokens outside the vocabulary and positions outside the context, before anything is changed.
   * An aborted pass may leave some layers of the cache longer than others: truncate it to the old length.
   */
  forward(tokens: ArrayLike<number>, options?: ForwardOptions): Promise<Tensor<Float32Array>>;
  /** A cache of this model's shape, in the memory of its backend's kernels. Call `dispose` of the cache when done. */
  createCache(options?: Omit<FullCacheOptions, 'memory'>): FullCache;
  dispose(): Promise<void>;
}

/** Loads the embeddings alone. The table stays in its stored type; rows are decoded when they are looked up. */
export async function loadEmbedding(source: ModelSource, options: LoadOptions = {}): Promise<Embedding> {
  const { config, graph } = source;
  const { hiddenSize, vocabSize, contextLength } = config;
  const table = await loadRows(source, graph.embedding, [vocabSize, hiddenSize], options);
  const learned: RowTable | undefined =
    graph.positionEmbedding === undefined
      ? undefined
      : await loadRows(source, graph.positionEmbedding, [contextLength, hiddenSize], options);
  const row = new Float32Array(hiddenSize);
  return {
    byteLength: table.byteLength + (learned?.byteLength ?? 0),
    embed(tokens, given, out) {
      const count = tokens.length;
      const positions = sequencePositions(given ?? consecutivePositions(0, count), count, contextLength);
      checkTokens(tokens, vocabSize);
      const hidden = out ?? new Float32Array(count * hiddenSize);
      for (let i = 0; i < tokens.length; i++) {
        table.row(tokens[i], hidden, i * hiddenSize);
        if (learned === undefined) continue;
        learned.row(positions[i], row, 0);
        for (let j = 0, at = i * hiddenSize; j < hiddenSize; j++, at++) hidden[at] += row[j];
      }
      return hidden;
    },
  };
}

/** Loads the final norm and the head alone. */
export async function loadHead(
  source: ModelSource,
  backend: KernelBackend,
  options: LoadBlockOptions = {},
): Promise<Head> {
  const { config, graph } = source;
  const { hiddenSize, vocabSize, layers } = config;
  const place = options.workspace ?? workspace(config, backend);
  const norm = await loadNorm(source, graph.finalNorm, place.kernels, options);
  const dispose = () => {
    norm.dispose();
    if (options.workspace === undefined) place.dispose();
  };
  let weight: UploadedLinear;
  try {
    weight = await loadLinear(source, graph.head, backend, options);
  } catch (error) {
    dispose();
    throw error;
  }
  return {
    byteLength: weight.byteLength,
    async run(hidden, rows, { taps, out = new Float32Array(rows * vocabSize) } = {}) {
      const normed = place.buffers.take('normed', rows * hiddenSize);
      let pending = norm.run(hidden, rows, normed);
      if (pending !== undefined) await pending;
      pending = runLinear(backend, weight, layers, graph.head.name, normed, rows, out, taps);
      if (pending !== undefined) await pending;
      return out;
    },
    dispose() {
      backend.release(weight);
      dispose();
    },
  };
}

/**
 * Loads all weights of a model, one at a time, and returns it ready to run.
 *
 * Memory: the backend's weights (4 bytes each where it decodes them) and the embedding table in its stored type.
 * On failure or abort everything is released again.
 */
export async function createModel(source: ModelSource, options: ModelOptions = {}): Promise<TransformerModel> {
  const { config, graph } = source;
  const backend = options.backend ?? defaultBackend();
  const disposeBackend = async () => {
    if (options.backend === undefined) await backend.dispose();
  };
  let parts: ModelParts;
  try {
    parts = await loadParts(source, backend, options);
  } catch (error) {
    await disposeBackend();
    throw error;
  }
  const { embedding, blocks, head } = parts;
  return {
    config,
    graph,
    backend,
    byteLength: embedding.byteLength + head.byteLength + blocks.reduce((sum, block) => sum + block.byteLength, 0),
    embed: embedding.embed,
    block(index, hidden, context) {
      const block = blocks[index];
      if (block === undefined)
        throw new HalftoneError('RANGE', `there is no block ${index}; the model has ${config.layers}`, {
          where: 'block',
        });
      return block.run(hidden, context);
    },
    head: head.run,
    forward: (tokens, forwardOptions = {}) => forward(config, parts, tokens, forwardOptions),
    createCache: (cacheOptions = {}) => fullCache(kvShape(config), { ...cacheOptions, memory: backend.block }),
    async dispose() {
      for (const block of blocks) block.dispose();
      head.dispose();
      parts.workspace.dispose();
      await disposeBackend();
    },
  };
}

interface ModelParts {
  readonly workspace: Workspace;
  readonly embedding: Embedding;
  readonly blocks: readonly Block[];
  readonly head: Head;
  /** Those of the last pass, whose array the next one uses again. */
  positions: Int32Array;
}

/** Releases on failure what it has loaded. */
async function loadParts(source: ModelSource, backend: KernelBackend, options: ModelOptions): Promise<ModelParts> {
  const { layers } = source.config;
  const shared = workspace(source.config, backend);
  const blocks: Block[] = [];
  let head: Head | undefined;
  const loaded = (done: number) => {
    options.onProgress?.({ stage: 'load', done, total: layers + 2 });
    throwIfAborted(options.signal, 'createModel');
  };
  try {
    const embedding = await loadEmbedding(source, options);
    loaded(1);
    for (let index = 0; index < layers; index++) {
      blocks.push(await loadBlock(source, index, backend, { ...options, workspace: shared }));
      loaded(index + 2);
    }
    head = await loadHead(source, backend, { ...options, workspace: shared });
    loaded(layers + 2);
    return { workspace: shared, embedding, blocks, head, positions: new Int32Array(1) };
  } catch (error) {
    for (const block of blocks) block.dispose();
    head?.dispose();
    shared.dispose();
    throw error;
  }
}

async function forward(
  config: ModelConfig,
  parts: ModelParts,
  tokens: ArrayLike<number>,
  { cache, positions: given, from = 0, taps, signal, out }: ForwardOptions,
): Promise<Tensor<Float32Array>> {
  const { hiddenSize, vocabSize, contextLength } = config;
  const rows = tokens.length;
  if (rows < 1 || !Number.isInteger(from) || from < 0 || from >= rows) {
    throw new HalftoneError('RANGE', `cannot give logits from token ${from} of ${rows}`, {
      where: 'forward',
      details: { from, rows },
    });
  }
  checkCache(cache, config);
  const wanted = given ?? consecutivePositions(nextPosition(cache), rows, parts.positions);
  const positions = sequencePositions(wanted, rows, contextLength);
  if (given === undefined) parts.positions = positions;
  const hidden = parts.embedding.embed(tokens, positions, parts.workspace.buffers.take('hidden', rows * hiddenSize));
  const context: BlockContext = { positions, cache, taps, signal };
  for (const block of parts.blocks) {
    const pending = block.run(hidden, context);
    if (pending !== undefined) await pending;
  }
  throwIfAborted(signal, 'forward');
  const logitRows = rows - from;
  const size = logitRows * vocabSize;
  const last = from === 0 ? hidden : hidden.subarray(from * hiddenSize);
  const logits = await parts.head.run(last, logitRows, { taps, out });
  return tensor(logits.length === size ? logits : logits.subarray(0, size), [logitRows, vocabSize]);
}

function checkCache(cache: KvCache | undefined, { layers, kvHeads, headDim }: ModelConfig): void {
  if (cache !== undefined && (cache.layers !== layers || cache.kvHeads !== kvHeads || cache.headDim !== headDim)) {
    throw new HalftoneError(
      'SHAPE',
      `the cache is for ${cache.layers} layers of ${cache.kvHeads} heads of ${cache.headDim}, the model has ${layers} of ${kvHeads} of ${headDim}`,
      { where: 'forward' },
    );
  }
}

function checkTokens(tokens: ArrayLike<number>, vocabSize: number): void {
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (!Number.isInteger(token) || token < 0 || token >= vocabSize) {
      throw new HalftoneError('RANGE', `token ${token} at ${i} is not in the vocabulary of ${vocabSize}`, {
        where: 'embed',
        details: { index: i, token, vocabSize },
      });
    }
  }
}
