import type { ModelGraph } from '@halftone/tensor';

/** Where a tensor stands in its model. Linear weights have the name of their node: `attention.value`, `mlp.down`. */
export interface TensorPlace {
  readonly role: string;
  /** Index of the block, absent outside the blocks. */
  readonly block?: number;
}

/** The place of every tensor of the graph, by checkpoint name. */
export function tensorPlaces(graph: ModelGraph): Map<string, TensorPlace> {
  const places = new Map<string, TensorPlace>();
  places.set(graph.embedding, { role: 'token-embedding' });
  if (graph.positionEmbedding) places.set(graph.positionEmbedding, { role: 'position-embedding' });
  for (const { index, linears, norms } of graph.blocks) {
    for (const norm of norms) {
      places.set(norm.gain, { role: 'norm', block: index });
      if (norm.bias) places.set(norm.bias, { role: 'bias', block: index });
    }
    for (const linear of linears) {
      places.set(linear.weight, { role: linear.name, block: index });
      if (linear.bias) places.set(linear.bias, { role: 'bias', block: index });
    }
  }
  places.set(graph.finalNorm.gain, { role: 'norm' });
  if (graph.finalNorm.bias) places.set(graph.finalNorm.bias, { role: 'bias' });
  if (!graph.tiedHead) places.set(graph.head.weight, { role: 'output' });
  if (graph.head.bias) places.set(graph.head.bias, { role: 'bias' });
  return places;
}
