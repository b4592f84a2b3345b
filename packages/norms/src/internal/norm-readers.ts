import type { BlockGraph, Edit, LinearNode, ModelGraph, NormNode } from '@halftone/tensor';

/** A norm with the linears that read its output, or the reason why something else may read it. */
export interface NormPlace {
  readonly block?: number;
  readonly norm: NormNode;
  readonly readers: readonly LinearNode[];
  readonly obstacle?: string;
}

/** All norms of the model in order, with their readers. The head counts as the reader of the final norm. */
export function normPlaces(graph: ModelGraph): NormPlace[] {
  const counts = tensorUses(graph);
  const places = graph.blocks.flatMap((block) => block.norms.map((norm) => blockPlace(block, norm, counts)));
  return [...places, finalPlace(graph, counts)];
}

function blockPlace(block: BlockGraph, norm: NormNode, uses: ReadonlyMap<string, number>): NormPlace {
  const edge = norm.output;
  const readers = block.linears.filter((linear) => linear.input === edge);
  const place = { block: block.index, norm, readers };
  const obstacle = block.otherReaders.includes(edge)
    ? `something other than a linear reads ${edge}`
    : block.norms.some((other) => other.input === edge)
      ? `another norm reads ${edge}`
      : block.norms.some((other) => other !== norm && other.output === edge)
        ? `two norms write ${edge}`
        : readerObstacle(norm, readers, uses);
  return obstacle === undefined ? place : { ...place, obstacle };
}

function finalPlace(graph: ModelGraph, uses: ReadonlyMap<string, number>): NormPlace {
  const { finalNorm: norm, head, tiedHead } = graph;
  const readers = head.input === norm.output ? [head] : [];
  const obstacle = tiedHead
    ? 'the head shares its weight with the embedding; untie it first (untieHead)'
    : readerObstacle(norm, readers, uses);
  return obstacle === undefined ? { norm, readers } : { norm, readers, obstacle };
}

function readerObstacle(
  norm: NormNode,
  readers: readonly LinearNode[],
  uses: ReadonlyMap<string, number>,
): string | undefined {
  if (readers.length === 0) return `no linear reads ${norm.output}`;
  const misfit = readers.find((linear) => linear.inFeatures !== norm.features);
  if (misfit) return `${misfit.name} has ${misfit.inFeatures} inputs but the norm ${norm.features} features`;
  const names = [norm.gain, norm.bias, ...readers.flatMap((linear) => [linear.weight, linear.bias])];
  const shared = names.find((name) => name !== undefined && (uses.get(name) as number) > 1);
  return shared === undefined ? undefined : `tensor ${shared} is used in more than one place`;
}

/** How often each tensor is named in the graph. */
export function tensorUses(graph: ModelGraph): Map<string, number> {
  const uses = new Map<string, number>();
  const use = (name: string | undefined): void => {
    if (name !== undefined) uses.set(name, (uses.get(name) ?? 0) + 1);
  };
  for (const { norms, linears } of [...graph.blocks, { norms: [graph.finalNorm], linears: [graph.head] }]) {
    for (const { gain, bias } of norms) [gain, bias].forEach(use);
    for (const { weight, bias } of linears) [weight, bias].forEach(use);
  }
  use(graph.embedding);
  use(graph.positionEmbedding);
  return uses;
}

/** The axis of a linear's stored weight that counts its inputs. */
export function inputAxis(linear: LinearNode): 0 | 1 {
  return linear.storedTransposed ? 0 : 1;
}

/** Gives a linear a bias, named after its weight, where it has none. */
export function withBias(linear: LinearNode): LinearNode & { readonly bias: string } {
  return { ...linear, bias: linear.bias ?? `${linear.weight.replace(/\.weight$/, '')}.bias` };
}

/** The graph with a head of its own, and the edit that makes it. Nothing changes where the head is not tied. */
export function untie(graph: ModelGraph, name: string | undefined): { graph: ModelGraph; edits: Edit[] } {
  if (!graph.tiedHead || name === undefined) return { graph, edits: [] };
  return {
    graph: { ...graph, tiedHead: false, head: { ...graph.head, weight: name } },
    edits: [{ type: 'copy', tensor: name, from: graph.head.weight }],
  };
}

/** The graph with norms and linears replaced. */
export function mapGraph(
  graph: ModelGraph,
  replaceNorm: (norm: NormNode) => NormNode,
  replaceLinear: (linear: LinearNode) => LinearNode,
): ModelGraph {
  return {
    ...graph,
    blocks: graph.blocks.map((block) => ({
      ...block,
      norms: block.norms.map(replaceNorm),
      linears: block.linears.map(replaceLinear),
    })),
    finalNorm: replaceNorm(graph.finalNorm),
    head: replaceLinear(graph.head),
  };
}
