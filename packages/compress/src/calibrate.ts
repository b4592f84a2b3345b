import type { BlockGraph, Collector, InputStatistics, KernelBackend, StatName, WorkOptions } from '@halftone/tensor';
import { HalftoneError, throwIfAborted } from '@halftone/tensor';
import { type Block, loadBlock, loadEmbedding, type ModelSource, type WeightOverride } from '@halftone/transformer';
import { collectorFor } from './collectors.js';

export interface CalibrationOptions extends WorkOptions {
  /** Token sequences, each no longer than the model's context. Never the text that judges the result. */
  readonly sequences: readonly Int32Array[];
  readonly needs: readonly StatName[];
  readonly backend: KernelBackend;
}

/** Statistics of the inputs of a block's linears, by the name of their weight tensor. Linears with one input share them. */
export type BlockStatistics = ReadonlyMap<string, InputStatistics>;

/**
 * Walks calibration sequences through a model one block at a time. Only one block's weights and the hidden states of all
 * sequences (`tokens * hiddenSize` float32) are in memory.
 */
export interface CalibrationWalk {
  /** The block that comes next, counted from 0. */
  readonly position: number;
  /** Statistics of the next block under its original weights. Does not advance. */
  collect(): Promise<BlockStatistics>;
  /** Moves the hidden states through the next block, with some weights replaced where `weights` says so. */
  advance(weights?: WeightOverride): Promise<void>;
  /** `collect` and `advance` with the original weights in a single pass. */
  collectAndAdvance(): Promise<BlockStatistics>;
}

/** Embeds the sequences and stands before block 0. Throws `RANGE` when there are none, or one is longer than the context. */
export async function startCalibration(source: ModelSource, options: CalibrationOptions): Promise<CalibrationWalk> {
  const { sequences, needs, backend, signal, onProgress } = options;
  requireSequences(source, sequences);
  const embedding = await loadEmbedding(source, { signal });
  const hidden = sequences.map((tokens) => embedding.embed(tokens));
  let position = 0;

  /** Runs the next block over all sequences, on the hidden states themselves or on copies. */
  async function pass(mode: {
    collect: boolean;
    advance: boolean;
    weights?: WeightOverride;
  }): Promise<BlockStatistics> {
    const graph = source.graph.blocks[position];
    if (!graph) {
      throw new HalftoneError('RANGE', `the model has only ${source.graph.blocks.length} blocks`, {
        where: 'calibrate',
      });
    }
    const block = await loadBlock(source, position, backend, { weights: mode.weights, signal });
    try {
      const collectors = mode.collect ? inputCollectors(graph, needs) : undefined;
      for (const [index, states] of hidden.entries()) {
        throwIfAborted(signal, 'calibrate');
        await runBlock(
          block,
          mode.advance ? states : states.slice(),
          (sequences[index] as Int32Array).length,
          collectors,
        );
        onProgress?.({
          stage: 'calibrate',
          done: position * sequences.length + index + 1,
          total: source.graph.blocks.length * sequences.length,
        });
      }
      if (mode.advance) position++;
      return collectors?.finish() ?? new Map();
    } finally {
      block.dispose();
    }
  }

  return {
    get position() {
      return position;
    },
    collect: () => pass({ collect: true, advance: false }),
    async advance(weights) {
      await pass({ collect: false, advance: true, weights });
    },
    collectAndAdvance: () => pass({ collect: true, advance: true }),
  };
}

/** Statistics of every block under the original weights, for imatrix files and studies. Keeps those of all blocks. */
export async function calibrate(source: ModelSource, options: CalibrationOptions): Promise<BlockStatistics> {
  const walk = await startCalibration(source, options);
  const all = new Map<string, InputStatistics>();
  for (const _ of source.graph.blocks) {
    for (const [name, statistics] of await walk.collectAndAdvance()) all.set(name, statistics);
  }
  return all;
}

/** Cuts tokens into sequences of `length`, the remainder dropped. Throws `RANGE` for a text shorter than one sequence. */
export function calibrationSequences(
  tokens: Int32Array,
  length: number,
  maxTokens = Number.POSITIVE_INFINITY,
): Int32Array[] {
  const count = Math.floor(Math.min(tokens.length, maxTokens) / length);
  if (count < 1) {
    throw new HalftoneError(
      'RANGE',
      `the calibration text has ${tokens.length} tokens, fewer than one sequence of ${length}; use a longer text`,
      { where: 'calibrate' },
    );
  }
  return Array.from({ length: count }, (_, index) => tokens.subarray(index * length, (index + 1) * length));
}

interface InputCollectors {
  onLinearInput(linear: string, x: Float32Array, rows: number): void;
  finish(): BlockStatistics;
}

/** One set of collectors for each distinct input of the block. */
function inputCollectors(graph: BlockGraph, needs: readonly StatName[]): InputCollectors {
  const collectors: Collector[] = needs.map(collectorFor);
  const leaders = new Map<string, string>();
  for (const { input, name } of graph.linears) if (!leaders.has(input)) leaders.set(input, name);
  const states = new Map<string, unknown[]>();
  for (const { input, inFeatures } of graph.linears) {
    if (!states.has(input))
      states.set(
        input,
        collectors.map((collector) => collector.init(inFeatures)),
      );
  }
  const inputOf = new Map(graph.linears.map(({ name, input }) => [name, input]));
  return {
    onLinearInput(linear, x, rows) {
      const input = inputOf.get(linear);
      if (input === undefined || leaders.get(input) !== linear) return;
      const own = states.get(input) as unknown[];
      collectors.forEach((collector, index) => {
        collector.update(own[index], x, rows);
      });
    },
    finish() {
      const finished = new Map<string, InputStatistics>();
      for (const [input, own] of states) {
        const parts = collectors.map((collector, index) => collector.finish(own[index]));
        finished.set(input, Object.assign({ tokens: 0 }, ...parts) as InputStatistics);
      }
      return new Map(graph.linears.map(({ weight, input }) => [weight, finished.get(input) as InputStatistics]));
    },
  };
}

async function runBlock(
  block: Block,
  states: Float32Array,
  tokens: number,
  collectors?: InputCollectors,
): Promise<void> {
  await block.run(states, {
    positions: Int32Array.from({ length: tokens }, (_, position) => position),
    taps: collectors && { onLinearInput: (_block, linear, x, rows) => collectors.onLinearInput(linear, x, rows) },
  });
}

function requireSequences(source: ModelSource, sequences: readonly Int32Array[]): void {
  if (sequences.length === 0) {
    throw new HalftoneError('RANGE', 'no calibration sequences; pass at least one', { where: 'calibrate' });
  }
  const longest = Math.max(...sequences.map((tokens) => tokens.length));
  if (longest > source.config.contextLength) {
    throw new HalftoneError(
      'RANGE',
      `a calibration sequence has ${longest} tokens but the model's context is ${source.config.contextLength}; cut it`,
      { where: 'calibrate' },
    );
  }
}
