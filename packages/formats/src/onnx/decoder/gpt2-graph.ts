import { cachedAttention, type SequenceValues, splitHeads } from './attention.js';
import type { DecoderDescription } from './describe-decoder.js';
import { gelu, type LayerContext, layerNorm, linear, lookUp } from './layers.js';

/** Embeddings, blocks and final norm of GPT-2: rows `[batch * new, embedding]`. */
export function gpt2Rows(context: LayerContext, description: DecoderDescription, sequence: SequenceValues): string {
  const { graph } = context;
  const { sizes, epsilon } = description;
  const tokens = lookUp(context, 'embedding.tokens', 'transformer.wte.weight', 'input_ids');
  const places = lookUp(context, 'embedding.positions', 'transformer.wpe.weight', 'position_ids');
  const embedded = graph.node('Add', 'embedding', [tokens, places]);
  let rows = graph.node('Reshape', 'embedding.rows', [embedded, graph.ints(-1, sizes.embedding)]);
  for (let block = 0; block < sizes.blocks; block++) rows = gpt2Block(context, description, sequence, block, rows);
  return layerNorm(context, 'final.norm', 'transformer.ln_f', rows, epsilon);
}

function gpt2Block(
  context: LayerContext,
  { sizes, epsilon }: DecoderDescription,
  sequence: SequenceValues,
  block: number,
  rows: string,
): string {
  const { graph } = context;
  const stored = `transformer.h.${block}`;
  const name = `blocks.${block}`;
  const input = layerNorm(context, `${name}.attention.norm`, `${stored}.ln_1`, rows, epsilon);
  const joined = linear(context, `${name}.attention.joined`, `${stored}.attn.c_attn`, input, true);
  const parts = graph.split(`${name}.attention.parts`, joined, 3, 1);
  const [query, key, value] = parts.map((part) => splitHeads(graph, part, part, sequence.queryShape)) as [
    string,
    string,
    string,
  ];
  const mixed = cachedAttention(graph, block, `${name}.attention.mixed`, sizes, sequence.mask, { query, key, value });
  const attended = linear(context, `${name}.attention.output`, `${stored}.attn.c_proj`, mixed, true);
  const middle = graph.node('Add', `${name}.attention.residual`, [rows, attended]);
  const mlpInput = layerNorm(context, `${name}.mlp.norm`, `${stored}.ln_2`, middle, epsilon);
  const up = linear(context, `${name}.mlp.up`, `${stored}.mlp.c_fc`, mlpInput, true);
  const down = linear(
    context,
    `${name}.mlp.down`,
    `${stored}.mlp.c_proj`,
    gelu(context, `${name}.mlp.hidden`, up),
    true,
  );
  return graph.node('Add', `${name}.residual`, [middle, down]);
}
