import { cachedAttention, headsFirst, type SequenceValues, splitHeads } from './attention.js';
import type { DecoderDescription } from './describe-decoder.js';
import { type GraphBuilder, int } from './graph-builder.js';
import { type LayerContext, linear, lookUp, rmsNorm } from './layers.js';
import { type RotaryTables, rotaryTables } from './rotary.js';

/** Embedding, blocks and final norm of llama, mistral, qwen2 and qwen3: rows `[batch * new, embedding]`. */
export function llamaRows(
  context: LayerContext,
  description: DecoderDescription,
  sequence: SequenceValues,
  positions: number,
): string {
  const { graph } = context;
  const { sizes, epsilon } = description;
  const tables = rotaryTables(graph, description, positions);
  const embedded = lookUp(context, 'embedding', 'model.embed_tokens.weight', 'input_ids');
  let rows = graph.node('Reshape', 'embedding.rows', [embedded, graph.ints(-1, sizes.embedding)]);
  for (let block = 0; block < sizes.blocks; block++) {
    rows = llamaBlock(context, description, sequence, tables, block, rows);
  }
  return rmsNorm(context, 'final.norm', 'model.norm.weight', rows, epsilon);
}

function llamaBlock(
  context: LayerContext,
  description: DecoderDescription,
  sequence: SequenceValues,
  tables: RotaryTables,
  block: number,
  rows: string,
): string {
  const { graph } = context;
  const { sizes, epsilon } = description;
  const stored = `model.layers.${block}`;
  const name = `blocks.${block}`;
  const input = rmsNorm(context, `${name}.attention.norm`, `${stored}.input_layernorm.weight`, rows, epsilon);
  const heads = (part: 'query' | 'key', projection: 'q' | 'k') => {
    const own = `${name}.attention.${part}`;
    const flat = linear(context, own, `${stored}.self_attn.${projection}_proj`, input);
    const shape = part === 'query' ? sequence.queryShape : sequence.keyShape;
    let split = graph.node('Reshape', `${own}.heads`, [flat, shape]);
    const norm = `${stored}.self_attn.${projection}_norm.weight`;
    if (context.weights.has(norm)) split = rmsNorm(context, `${own}.normed`, norm, split, epsilon);
    return rotate(graph, `${own}.rotated`, headsFirst(graph, own, split), tables);
  };
  const query = heads('query', 'q');
  const key = heads('key', 'k');
  const flatValue = linear(context, `${name}.attention.value`, `${stored}.self_attn.v_proj`, input);
  const value = splitHeads(graph, `${name}.attention.value`, flatValue, sequence.keyShape);
  const mixed = cachedAttention(graph, block, `${name}.attention.mixed`, sizes, sequence.mask, { query, key, value });
  const attended = linear(context, `${name}.attention.output`, `${stored}.self_attn.o_proj`, mixed);
  const middle = graph.node('Add', `${name}.attention.residual`, [rows, attended]);
  const mlpInput = rmsNorm(context, `${name}.mlp.norm`, `${stored}.post_attention_layernorm.weight`, middle, epsilon);
  const gate = linear(context, `${name}.mlp.gate`, `${stored}.mlp.gate_proj`, mlpInput);
  const up = linear(context, `${name}.mlp.up`, `${stored}.mlp.up_proj`, mlpInput);
  const sigmoid = graph.node('Sigmoid', `${name}.mlp.sigmoid`, [gate]);
  const active = graph.node('Mul', `${name}.mlp.active`, [gate, sigmoid]);
  const hidden = graph.node('Mul', `${name}.mlp.hidden`, [active, up]);
  const down = linear(context, `${name}.mlp.down`, `${stored}.mlp.down_proj`, hidden);
  return graph.node('Add', `${name}.residual`, [middle, down]);
}

/** Turns channel `i` of each head with channel `i + headDim / 2`. */
function rotate(graph: GraphBuilder, name: string, x: string, { cosines, sines }: RotaryTables): string {
  const [first, second] = graph.split(`${name}.halves`, x, 2, -1) as [string, string];
  const product = (what: string, half: string, table: string) => graph.node('Mul', `${name}.${what}`, [half, table]);
  const left = graph.node('Sub', `${name}.left`, [
    product('firstCosine', first, cosines),
    product('secondSine', second, sines),
  ]);
  const right = graph.node('Add', `${name}.right`, [
    product('secondCosine', second, cosines),
    product('firstSine', first, sines),
  ]);
  return graph.node('Concat', name, [left, right], { axis: int(-1) });
}
