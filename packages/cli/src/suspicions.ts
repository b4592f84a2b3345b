import { type Checkpoint, elementCount } from '@halftone/tensor';
import { graphTensors, type ModelSource } from '@halftone/transformer';
import { formatBytes, formatCount } from './terminal/format.js';

/** What a reader of a model's headers should look at twice. One sentence each; none for a sound model. */
export function suspicions(checkpoint: Checkpoint, source?: ModelSource): string[] {
  return [...ofTensors(checkpoint), ...(source === undefined ? [] : ofModel(source))];
}

function* ofTensors(checkpoint: Checkpoint): Generator<string> {
  const tensors = [...checkpoint.tensors.values()];
  const empty = tensors.filter((tensor) => elementCount(tensor.shape) === 0).map((tensor) => tensor.name);
  if (empty.length > 0) yield `${listed(empty)}: no elements`;
  const wide = tensors.filter((tensor) => tensor.dtype === 'f64').map((tensor) => tensor.name);
  if (wide.length > 0) yield `${listed(wide)}: 64-bit floats, which no model needs`;
  const packed = checkpoint.quantized === undefined ? tensors.filter((tensor) => /^[iu]\d/.test(tensor.dtype)) : [];
  if (packed.length > 0) {
    yield `${listed(packed.map((tensor) => tensor.name))}: integers that no known layout explains`;
  }
  let held = tensors.reduce((sum, tensor) => sum + tensor.byteLength, 0);
  for (const weight of checkpoint.quantized?.values() ?? []) held += weight.byteLength;
  const rest = checkpoint.byteLength - held;
  if (rest > 0.05 * checkpoint.byteLength + 50e6) yield `${formatBytes(rest)} of the file belong to no tensor`;
}

function* ofModel({ checkpoint, graph, config, configJson, tokenizer }: ModelSource): Generator<string> {
  const known = graphTensors(graph, config);
  const unused = [...checkpoint.tensors.keys()].filter((name) => !known.has(name) && !HARMLESS.test(name));
  if (unused.length > 0) yield `${listed(unused)}: not used by the architecture`;
  if (configJson.auto_map !== undefined) yield 'config.json names Python code of its own (auto_map), which is not run';
  if (config.eosTokens.length === 0) yield 'no end-of-text token: generation stops at the length limit only';
  if (tokenizer === undefined) {
    yield 'no tokenizer: text can neither be read nor written';
    return;
  }
  const tokens = tokenCount(tokenizer.tokenizerJson);
  if (tokens !== undefined && config.vocabSize - tokens > Math.max(1024, 0.02 * tokens)) {
    yield `the embedding has ${formatCount(config.vocabSize - tokens)} more rows than the tokenizer has tokens`;
  }
}

/** Buffers that older libraries stored, and heads that repeat a tied embedding. */
const HARMLESS = /(rotary_emb\.inv_freq|attn\.(masked_)?bias|lm_head\.weight)$/;

/** One more than the highest id; undefined for vocabularies of a form that is not counted here. */
function tokenCount(tokenizerJson: Readonly<Record<string, unknown>>): number | undefined {
  const { vocab } = (tokenizerJson.model ?? {}) as { vocab?: unknown };
  if (typeof vocab !== 'object' || vocab === null) return undefined;
  const added = Array.isArray(tokenizerJson.added_tokens) ? (tokenizerJson.added_tokens as { id?: unknown }[]) : [];
  let highest = Array.isArray(vocab) ? vocab.length - 1 : -1;
  for (const id of Array.isArray(vocab) ? [] : Object.values(vocab)) if (Number(id) > highest) highest = Number(id);
  for (const { id } of added) if (Number(id) > highest) highest = Number(id);
  return highest + 1;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ');
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}
