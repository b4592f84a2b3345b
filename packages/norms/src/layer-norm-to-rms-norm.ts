import type { Edit, LinearNode, ModelGraph, NormNode } from '@halftone/tensor';
import type { FoldDecision, FoldOptions, FoldPlan } from './fold-plan.js';
import {
  inputAxis,
  mapGraph,
  type NormPlace,
  normPlaces,
  tensorUses,
  untie,
  withBias,
} from './internal/norm-readers.js';

/**
 * Plans to turn every LayerNorm on the residual stream into an RMSNorm, exactly (arXiv 2305.14858, section 3).
 *
 * All that is added to the residual stream is centred: the outputs of its writers, the embedding and the position embedding.
 * The stream then has mean 0, its variance is its mean square, and LayerNorm equals RMSNorm with the same epsilon.
 * The norm's bias goes into the linears that read it, since an RMSNorm has none; the gain stays.
 *
 * Either the whole stream can be centred or nothing is. It can where only LayerNorms read it, only linears and embeddings write to
 * it, and none of their tensors is used elsewhere: a tied head must be untied first (`untieHead`). Then each LayerNorm is converted
 * whose bias can be moved. RMSNorms, post-norm and Peri-LN models are refused with the reason.
 */
export function planLayerNormToRmsNorm(graph: ModelGraph, options: FoldOptions = {}): FoldPlan {
  const source = graph.head.weight;
  const untied = untie(graph, options.untieHead);
  const places = normPlaces(untied.graph);
  const stream = graph.finalNorm.input;
  const general = streamObstacle(untied.graph, places);
  const report = places.map((place): FoldDecision => {
    const reason = general ?? placeObstacle(place, stream);
    return {
      ...(place.block === undefined ? {} : { block: place.block }),
      norm: place.norm.name,
      readers: place.readers.map((linear) => linear.name),
      legal: reason === undefined,
      ...(reason === undefined ? {} : { reason }),
    };
  });
  if (general !== undefined) return { edits: [], graph, report };

  const edits: Edit[] = [...untied.edits];
  const norms = new Map<NormNode, NormNode>();
  const linears = new Map<LinearNode, LinearNode>();
  places.forEach(({ norm, readers }, i) => {
    if (!report[i].legal) return;
    const { bias, ...rest } = norm;
    norms.set(norm, { ...rest, kind: 'rms' });
    if (bias === undefined) return;
    for (const linear of readers) {
      const biased = withBias(linear);
      linears.set(linear, biased);
      const matrix = linear === untied.graph.head ? source : linear.weight;
      edits.push({ type: 'addProduct', tensor: biased.bias, matrix, axis: inputAxis(linear), vector: bias });
    }
    edits.push({ type: 'remove', tensor: bias });
  });
  for (const writer of residualWriters(untied.graph)) {
    const linear = linears.get(writer) ?? writer;
    edits.push({ type: 'center', tensor: linear.weight, axis: 1 - inputAxis(linear) });
    if (linear.bias !== undefined) edits.push({ type: 'center', tensor: linear.bias, axis: 0 });
  }
  for (const tensor of [graph.embedding, graph.positionEmbedding]) {
    if (tensor !== undefined) edits.push({ type: 'center', tensor, axis: 1 });
  }
  return {
    edits,
    report,
    graph: mapGraph(
      untied.graph,
      (norm) => norms.get(norm) ?? norm,
      (linear) => linears.get(linear) ?? linear,
    ),
  };
}

function residualWriters(graph: ModelGraph): LinearNode[] {
  return graph.blocks.flatMap((block) => block.linears.filter((linear) => block.residualWriters.includes(linear.name)));
}

/** Why the residual stream cannot be centred. */
function streamObstacle(graph: ModelGraph, places: readonly NormPlace[]): string | undefined {
  const stream = graph.finalNorm.input;
  if (graph.tiedHead) return 'the head shares its weight with the embedding; untie it first (untieHead)';
  const uses = tensorUses(graph);
  for (const { block, norm, readers } of places) {
    const at = block === undefined ? norm.name : `block ${block}, ${norm.name}`;
    if (norm.input === stream && norm.kind === 'rms') return `${at} is an RMSNorm, which does not remove the mean`;
    if (norm.output === stream) return `${at} writes to the residual stream`;
    if (readers.length === 0 && norm.features === graph.finalNorm.features) {
      return `${at} is read by no linear and may write to the residual stream`;
    }
  }
  for (const block of graph.blocks) {
    const reader = block.linears.find((linear) => linear.input === stream);
    if (reader) return `block ${block.index}, ${reader.name} reads the residual stream without a norm`;
    if (block.residualWriters.length === 0)
      return `block ${block.index} names no linear that writes to the residual stream`;
    for (const name of block.residualWriters) {
      const writer = block.linears.find((linear) => linear.name === name);
      if (writer === undefined)
        return `block ${block.index}, ${name} writes to the residual stream and is not a linear`;
      if ([...block.norms, ...block.linears].some((node) => node.input === writer.output)) {
        return `block ${block.index}, ${name} is read by more than the residual stream`;
      }
    }
  }
  const written = [
    graph.embedding,
    graph.positionEmbedding,
    ...residualWriters(graph).flatMap((linear) => [linear.weight, linear.bias]),
  ];
  const shared = written.find((name) => name !== undefined && (uses.get(name) as number) > 1);
  return shared === undefined ? undefined : `tensor ${shared} is used in more than one place`;
}

/** Why one norm stays as it is in a model whose residual stream can be centred. */
function placeObstacle({ norm, obstacle }: NormPlace, stream: string): string | undefined {
  if (norm.input !== stream) return 'it does not read the residual stream';
  return norm.bias === undefined ? undefined : obstacle;
}
