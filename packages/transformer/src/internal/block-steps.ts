import type { Awaitable, KernelBackend, KvView, UploadedLinear } from '@halftone/tensor';
import type { BlockContext } from '../block.js';
import type { ModelConfig } from '../config.js';
import type { Workspace } from '../workspace.js';
import { runLinear } from './linear-layer.js';
import type { NormLayer } from './norm-layer.js';

/** What the steps of one loaded block work with. */
export interface BlockParts {
  readonly config: ModelConfig;
  readonly index: number;
  readonly backend: KernelBackend;
  readonly workspace: Workspace;
  /** By the names of their nodes in the block graph. */
  readonly linears: ReadonlyMap<string, UploadedLinear>;
  readonly norms: ReadonlyMap<string, NormLayer>;
}

/** One operation on the rows in flight. Returns a promise only where the backend or a tap does. */
export type Step = (hidden: Float32Array, rows: number, context: BlockContext) => Awaitable<void>;

/** An activation of so many rows: the same array for every block of the model. */
type Edge = (rows: number) => Float32Array;

/**
 * Runs steps one after the other, at once as long as none returns a promise: awaiting what is there already would cost
 * a promise and a turn of the microtask queue for each.
 */
export function runSteps(
  steps: readonly Step[],
  hidden: Float32Array,
  rows: number,
  context: BlockContext,
  first = 0,
): Awaitable<void> {
  for (let i = first; i < steps.length; i++) {
    const pending = steps[i](hidden, rows, context);
    if (pending !== undefined) return pending.then(() => runSteps(steps, hidden, rows, context, i + 1));
  }
}

/** The operations of a block in order. `hidden` is the residual stream. */
export function blockSteps(parts: BlockParts): Step[] {
  return [...attentionSteps(parts), ...mlpSteps(parts)];
}

function attentionSteps(parts: BlockParts): Step[] {
  const { hiddenSize, heads, kvHeads, headDim } = parts.config;
  const input = edge(parts, 'normed', hiddenSize);
  const query = edge(parts, 'attention.query', heads * headDim);
  const key = edge(parts, 'attention.key', kvHeads * headDim);
  const value = edge(parts, 'attention.value', kvHeads * headDim);
  const context = edge(parts, 'attention.context', heads * headDim);
  const result = edge(parts, 'attention.result', hiddenSize);
  const projections = parts.linears.has('attention.qkv')
    ? fusedProjections(parts, input, query, key, value)
    : [
        linear(parts, 'attention.query', input, query),
        linear(parts, 'attention.key', input, key),
        linear(parts, 'attention.value', input, value),
      ];
  return [
    normOfResidual(parts, 'attention.norm', input),
    ...projections,
    ...headSteps(parts, 'attention.queryNorm', query, heads),
    ...headSteps(parts, 'attention.keyNorm', key, kvHeads),
    attention(parts, query, key, value, context),
    linear(parts, 'attention.output', context, result),
    addToResidual(parts, result),
  ];
}

function mlpSteps(parts: BlockParts): Step[] {
  const { kernels } = parts.workspace;
  const { hiddenSize, intermediateSize, activation, gatedMlp } = parts.config;
  const input = edge(parts, 'normed', hiddenSize);
  const up = edge(parts, 'mlp.up', intermediateSize);
  const gate = edge(parts, 'mlp.gate', intermediateSize);
  const result = edge(parts, 'mlp.result', hiddenSize);
  const activated: Step[] = gatedMlp
    ? [
        linear(parts, 'mlp.gate', input, gate),
        linear(parts, 'mlp.up', input, up),
        (_, rows) => kernels.activate(activation, gate(rows), rows * intermediateSize, up(rows)),
      ]
    : [
        linear(parts, 'mlp.up', input, up),
        (_, rows) => kernels.activate(activation, up(rows), rows * intermediateSize),
      ];
  return [
    normOfResidual(parts, 'mlp.norm', input),
    ...activated,
    linear(parts, 'mlp.down', gatedMlp ? gate : up, result),
    addToResidual(parts, result),
  ];
}

function edge({ workspace: { buffers } }: BlockParts, name: string, features: number): Edge {
  return (rows) => buffers.take(name, rows * features);
}

function linear({ backend, linears, index }: BlockParts, name: string, input: Edge, output: Edge): Step {
  const weight = linears.get(name) as UploadedLinear;
  return (_, rows, { taps }) => runLinear(backend, weight, index, name, input(rows), rows, output(rows), taps);
}

function normOfResidual({ norms }: BlockParts, name: string, out: Edge): Step {
  const norm = norms.get(name) as NormLayer;
  return (hidden, rows) => norm.run(hidden, rows, out(rows));
}

function addToResidual({ config: { hiddenSize }, workspace: { kernels } }: BlockParts, result: Edge): Step {
  return (hidden, rows) => kernels.add(hidden, result(rows), rows * hiddenSize);
}

/** GPT-2 keeps query, key and value in one linear: its output rows are `[query | key | value]`. */
function fusedProjections(parts: BlockParts, input: Edge, query: Edge, key: Edge, value: Edge): Step[] {
  const { heads, kvHeads, headDim } = parts.config;
  const width = (heads + 2 * kvHeads) * headDim;
  const fused = edge(parts, 'attention.qkv', width);
  const cut = (to: Edge, start: number, count: number): Step => {
    return (_, rows) => copyColumns(fused(rows), width, start * headDim, to(rows), rows, count * headDim);
  };
  return [
    linear(parts, 'attention.qkv', input, fused),
    cut(query, 0, heads),
    cut(key, heads, kvHeads),
    cut(value, heads + kvHeads, kvHeads),
  ];
}

function copyColumns(
  from: Float32Array,
  stride: number,
  start: number,
  to: Float32Array,
  rows: number,
  columns: number,
): void {
  for (let row = 0, at = 0; row < rows; row++) {
    for (let i = row * stride + start, end = i + columns; i < end; i++, at++) to[at] = from[i];
  }
}

/** The norm and the rotation of every head, where the architecture has them. */
function headSteps({ norms, workspace }: BlockParts, normName: string, x: Edge, heads: number): Step[] {
  const { kernels, rope } = workspace;
  const norm = norms.get(normName);
  const steps: Step[] = [];
  if (norm !== undefined) steps.push((_, rows) => norm.run(x(rows), rows * heads, x(rows)));
  if (rope !== undefined) {
    steps.push((_, rows, { positions }) => {
      rope.cover(positions[rows - 1]);
      return kernels.rotate(x(rows), positions, heads, rope.pairs, rope.cosines, rope.sines);
    });
  }
  return steps;
}

function attention(parts: BlockParts, query: Edge, key: Edge, value: Edge, out: Edge): Step {
  const { index, config, workspace } = parts;
  const { heads, kvHeads, headDim, windows } = config;
  const shape = { heads, kvHeads, headDim, window: windows[index] };
  const ownKeys = edge(parts, 'attention.ownKeys', kvHeads * headDim);
  const ownValues = edge(parts, 'attention.ownValues', kvHeads * headDim);
  const ownViews = (rows: number, positions: Int32Array): KvView[] => {
    const keys = headMajor(key(rows), rows, kvHeads, headDim, ownKeys(rows));
    const values = headMajor(value(rows), rows, kvHeads, headDim, ownValues(rows));
    const size = rows * headDim;
    return Array.from({ length: kvHeads }, (_, head) => ({
      length: rows,
      keys: keys.subarray(head * size, (head + 1) * size),
      values: values.subarray(head * size, (head + 1) * size),
      positions,
    }));
  };
  return (_, rows, { cache, positions }) => {
    const { kernels } = workspace;
    if (cache === undefined) {
      const views = ownViews(rows, positions);
      return kernels.attend(shape, query(rows), positions, (kvHead) => views[kvHead], out(rows));
    }
    cache.append(index, key(rows), value(rows), positions);
    return kernels.attend(shape, query(rows), positions, (kvHead) => cache.view(index, kvHead), out(rows));
  };
}

/** From `[rows, heads, headDim]` to `[heads, rows, headDim]`, as a cache holds keys and values. */
function headMajor(from: Float32Array, rows: number, heads: number, headDim: number, to: Float32Array): Float32Array {
  for (let head = 0, at = 0; head < heads; head++) {
    for (let row = 0; row < rows; row++) {
      for (let k = (row * heads + head) * headDim, end = k + headDim; k < end; k++, at++) to[at] = from[k];
    }
  }
  return to;
}
