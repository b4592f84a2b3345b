import type { Edit, LinearNode, ModelGraph } from '@halftone/tensor';
import type { FoldDecision, FoldOptions, FoldPlan } from './fold-plan.js';
import { inputAxis, mapGraph, normPlaces, untie, withBias } from './internal/norm-readers.js';

/**
 * Plans to move the gain of every norm into the linears that read it, and its bias into theirs:
 * `W' = W diag(gain)`, `b' = b + W bias` (SliceGPT, arXiv 2401.15024, section 3; the step before every rotation of the residual stream).
 *
 * Afterwards gains are 1 and biases 0; linears without a bias get one where the norm had one. Legal where only linears read the
 * norm's output and their weights are used nowhere else. Norms of queries and keys, and those that write to the residual stream, keep
 * their gain. Costs nothing: tensors change only when the edits are applied.
 */
export function planGainFold(graph: ModelGraph, options: FoldOptions = {}): FoldPlan {
  const source = graph.head.weight;
  const untied = untie(graph, options.untieHead);
  const edits: Edit[] = [...untied.edits];
  const newBiases = new Map<LinearNode, LinearNode>();
  const report: FoldDecision[] = [];
  for (const { block, norm, readers, obstacle } of normPlaces(untied.graph)) {
    report.push({
      ...(block === undefined ? {} : { block }),
      norm: norm.name,
      readers: readers.map((linear) => linear.name),
      legal: obstacle === undefined,
      ...(obstacle === undefined ? {} : { reason: obstacle }),
    });
    if (obstacle !== undefined) continue;
    for (const linear of readers) {
      const axis = inputAxis(linear);
      if (norm.bias !== undefined) {
        const biased = withBias(linear);
        newBiases.set(linear, biased);
        // Edits read tensors as they were before the plan, where a new head does not exist yet.
        const matrix = linear === untied.graph.head ? source : linear.weight;
        edits.push({ type: 'addProduct', tensor: biased.bias, matrix, axis, vector: norm.bias });
      }
      edits.push({ type: 'scale', tensor: linear.weight, axis, by: norm.gain });
    }
    edits.push({ type: 'fill', tensor: norm.gain, value: 1 });
    if (norm.bias !== undefined) edits.push({ type: 'fill', tensor: norm.bias, value: 0 });
  }
  const same = <T>(node: T): T => node;
  return { edits, report, graph: mapGraph(untied.graph, same, (linear) => newBiases.get(linear) ?? linear) };
}
