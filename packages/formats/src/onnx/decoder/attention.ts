import type { ModelSizes } from '../../gguf-model/architectures/form.js';
import { type GraphBuilder, int, ints } from './graph-builder.js';

/** Sizes that are known when the model runs, and what follows from them: made once, used by every block. */
export interface SequenceValues {
  /** `[batch, 1, new, all]`: which keys each query sees. */
  readonly mask: string;
  /** Shapes `[batch, -1, heads, headDim]` of queries, and of keys and values. */
  readonly queryShape: string;
  readonly keyShape: string;
  /** `[batch, -1, vocabulary]` */
  readonly logitShape: string;
}

/**
 * A token sees itself and what came before it, what the attention mask leaves out excepted, and with a window `window - 1` tokens
 * back. Places are counted in the cache, so padding on the left changes nothing.
 */
export function sequenceValues(graph: GraphBuilder, sizes: ModelSizes, window: number | undefined): SequenceValues {
  const dimension = (name: string, of: string, axis: number) =>
    graph.node('Shape', name, [of], { start: int(axis), end: int(axis + 1) });
  const batch = dimension('batch', 'input_ids', 0);
  const all = dimension('all', 'attention_mask', 1);
  const scalar = (name: string, value: string) => graph.node('Squeeze', name, [value, graph.ints(0)]);
  const end = scalar('all.scalar', all);
  const fresh = scalar('new.scalar', dimension('new', 'input_ids', 1));
  const past = graph.node('Sub', 'past.scalar', [end, fresh]);
  const one = graph.scalarInt(1);
  const keys = graph.node('Range', 'mask.keys', [graph.scalarInt(0), end, one]);
  const places = graph.node('Range', 'mask.places', [past, end, one]);
  const queries = graph.node('Unsqueeze', 'mask.queries', [places, graph.ints(1)]);
  let seen = graph.node('LessOrEqual', 'mask.causal', [keys, queries]);
  if (window !== undefined) {
    const before = graph.node('Sub', 'mask.before', [queries, graph.scalarInt(window)]);
    const near = graph.node('Greater', 'mask.near', [keys, before]);
    seen = graph.node('And', 'mask.window', [seen, near]);
  }
  const given = graph.node('Cast', 'mask.given', ['attention_mask'], { to: int(9) });
  const padding = graph.node('Unsqueeze', 'mask.padding', [given, graph.ints(1, 2)]);
  const shape = (name: string, ...parts: string[]) => graph.node('Concat', name, parts, { axis: int(0) });
  return {
    mask: graph.node('And', 'mask', [seen, padding]),
    queryShape: shape('shape.query', batch, graph.ints(-1, sizes.heads, sizes.headDim)),
    keyShape: shape('shape.key', batch, graph.ints(-1, sizes.kvHeads, sizes.headDim)),
    logitShape: shape('shape.logits', batch, graph.ints(-1, sizes.vocabulary)),
  };
}

export interface AttentionInputs {
  /** `[batch, heads, new, headDim]`, rotated; `key` and `value` have `kvHeads`. */
  readonly query: string;
  readonly key: string;
  readonly value: string;
}

/** Rows `[batch * new, heads * headDim]` as `[batch, heads, new, headDim]`. */
export function splitHeads(graph: GraphBuilder, name: string, rows: string, shape: string): string {
  return headsFirst(graph, name, graph.node('Reshape', `${name}.heads`, [rows, shape]));
}

/** Exchanges heads and places. */
export function headsFirst(graph: GraphBuilder, name: string, x: string): string {
  return graph.node('Transpose', `${name}.headsFirst`, [x], { perm: ints(0, 2, 1, 3) });
}

/**
 * Attention of one block over its past and new keys; appends both to the cache's outputs `present.<block>.key` and `.value`.
 * Query heads that share a key head are multiplied with it as one matrix, so that keys are never repeated in memory.
 */
export function cachedAttention(
  graph: GraphBuilder,
  block: number,
  name: string,
  sizes: ModelSizes,
  mask: string,
  inputs: AttentionInputs,
): string {
  const { heads, kvHeads, headDim } = sizes;
  const append = (part: 'key' | 'value') =>
    graph.node('Concat', `present.${block}.${part}`, [`past_key_values.${block}.${part}`, inputs[part]], {
      axis: int(2),
    });
  const key = append('key');
  const value = append('value');
  const grouped = heads !== kvHeads;
  const asGroups = (what: string, x: string) =>
    grouped ? graph.node('Reshape', `${name}.${what}Groups`, [x, graph.ints(0, kvHeads, -1, headDim)]) : x;
  const scaled = graph.node('Mul', `${name}.scaledQuery`, [inputs.query, graph.scalar(1 / Math.sqrt(headDim))]);
  const keyColumns = graph.node('Transpose', `${name}.keyColumns`, [key], { perm: ints(0, 1, 3, 2) });
  const products = graph.node('MatMul', `${name}.products`, [asGroups('query', scaled), keyColumns]);
  const scores = grouped ? graph.node('Reshape', `${name}.scores`, [products, graph.ints(0, heads, -1, 0)]) : products;
  // The lowest finite float: rows in which everything is masked stay numbers.
  const lowest = graph.scalar(-3.4028234663852886e38);
  const masked = graph.node('Where', `${name}.masked`, [mask, scores, lowest]);
  const shares = graph.node('Softmax', `${name}.shares`, [masked], { axis: int(-1) });
  const perGroup = grouped
    ? graph.node('Reshape', `${name}.shareGroups`, [shares, graph.ints(0, kvHeads, -1, 0)])
    : shares;
  const mixed = graph.node('MatMul', `${name}.mixed`, [perGroup, value]);
  const perHead = grouped
    ? graph.node('Reshape', `${name}.mixedHeads`, [mixed, graph.ints(0, heads, -1, headDim)])
    : mixed;
  return graph.node('Reshape', name, [headsFirst(graph, name, perHead), graph.ints(-1, heads * headDim)]);
}
