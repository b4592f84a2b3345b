import { HalftoneError } from '@halftone/tensor';
import type { GgufMetadataEntry } from '../gguf-types.js';
import { type BpeModel, MOST_CHARACTERS, mergeRanks, mergesReach } from './bpe-model.js';
import { TOKEN_TYPE } from './sentencepiece-json.js';
import type { Json, TokenList } from './token-list.js';

/**
 * Keys of BPE with byte fallback and spaces written as U+2581 (`llama`), with scores that put the merges in their order.
 *
 * llama.cpp puts the leading space before every text and after every special token. So does tokenizer.json's `Prepend`;
 * its `Metaspace` puts none before a text that begins with one, and with the scheme `first` none after special tokens.
 * Throws `UNSUPPORTED` for other normalizers, for a vocabulary without all bytes, and for tokens that llama.cpp, which
 * merges any two tokens whose sum is a token, would make where the merges do not.
 */
export function sentencePieceEntries(tokenizerJson: Json, model: BpeModel, tokens: TokenList): GgufMetadataEntry[] {
  requireAllBytes(model);
  refuseOtherMerges(model, tokens);
  return [
    { key: 'tokenizer.ggml.model', type: 'string', value: 'llama' },
    { key: 'tokenizer.ggml.pre', type: 'string', value: 'default' },
    { key: 'tokenizer.ggml.add_space_prefix', type: 'bool', value: addsSpacePrefix(tokenizerJson, model) },
    { key: 'tokenizer.ggml.scores', type: 'f32[]', value: scoresOf(tokens.texts, model.merges) },
  ];
}

/** Types of the tokens that stand for bytes and for what has no token. */
export function sentencePieceTypes(
  { texts, types }: TokenList,
  model: BpeModel,
  unknown: number | undefined,
): TokenList {
  const ids = new Map(texts.map((text, id) => [text, id]));
  const changed = types.slice();
  for (let byte = 0; byte < 256; byte++) {
    const id = ids.get(byteToken(byte));
    if (id !== undefined) changed[id] = TOKEN_TYPE.byte;
  }
  if (unknown !== undefined) changed[unknown] = TOKEN_TYPE.unknown;
  return { texts, types: model.byteFallback ? changed : types };
}

function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

/** llama.cpp ends the process at a character that has neither a token nor bytes. */
function requireAllBytes({ vocab }: BpeModel): void {
  for (let byte = 0; byte < 256; byte++) {
    if (Object.hasOwn(vocab, byteToken(byte))) continue;
    throw new HalftoneError(
      'UNSUPPORTED',
      `tokenizer.json: byte fallback without ${byteToken(byte)} has no GGUF form`,
      {
        where: 'tokenizer',
        details: { byte },
      },
    );
  }
}

function refuseOtherMerges({ merges }: BpeModel, { texts, types }: TokenList): void {
  const ranks = mergeRanks(merges);
  const normal = new Set(texts.filter((_, id) => types[id] === TOKEN_TYPE.normal));
  for (const text of normal) {
    if (allSplitsMerge(text, normal, ranks) || mergesReach(text, ranks)) continue;
    throw new HalftoneError(
      'UNSUPPORTED',
      `tokenizer.json: no merges lead to ${JSON.stringify(text)}, which llama.cpp would put together from its parts`,
      { where: 'tokenizer', details: { token: text } },
    );
  }
}

/** Whether every pair of tokens that makes this text is a merge. */
function allSplitsMerge(text: string, tokens: ReadonlySet<string>, ranks: ReadonlyMap<string, number>): boolean {
  if (text.length > MOST_CHARACTERS) return false;
  let cut = 0;
  for (const character of text) {
    cut += character.length;
    const [left, right] = [text.slice(0, cut), text.slice(cut)];
    if (right !== '' && tokens.has(left) && tokens.has(right) && !ranks.has(`${left} ${right}`)) return false;
  }
  return true;
}

/** llama.cpp merges the pair whose result has the best score; the first merge that makes a token gives its score. */
function scoresOf(texts: readonly string[], merges: BpeModel['merges']): Float32Array {
  const ranks = new Map<string, number>();
  for (const [left, right] of merges) if (!ranks.has(left + right)) ranks.set(left + right, ranks.size);
  return Float32Array.from(texts, (text) => -(ranks.get(text) ?? ranks.size));
}

function addsSpacePrefix(tokenizerJson: Json, model: BpeModel): boolean {
  const steps = [
    ...flatten(tokenizerJson.normalizer, 'normalizers'),
    ...flatten(tokenizerJson.pre_tokenizer, 'pretokenizers'),
  ];
  const replaced = steps.findIndex(replacesSpaces);
  const known = steps.every((step, i) =>
    step.type === 'Prepend' ? i < replaced : replacesSpaces(step) || (splitsAtSpaces(step) && i > replaced),
  );
  if (!known || replaced < 0) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `tokenizer.json: byte fallback with ${steps.map(({ type }) => type).join(', ') || 'no normalizer'} is not SentencePiece's way of writing spaces`,
      { where: 'tokenizer' },
    );
  }
  refuseCutting(steps, model);
  return steps.some(
    (step) =>
      step.type === 'Prepend' ||
      (step.type === 'Metaspace' && step.prepend_scheme !== 'never' && step.add_prefix_space !== false),
  );
}

function replacesSpaces({ type, pattern, content, replacement }: Json): boolean {
  if (type === 'Metaspace') return (replacement ?? '▁') === '▁';
  return type === 'Replace' && (pattern as Json | undefined)?.String === ' ' && content === '▁';
}

/** Cuts nothing where no spaces are left. */
function splitsAtSpaces({ type, pattern }: Json): boolean {
  return type === 'Split' && (pattern as Json | undefined)?.String === ' ';
}

/** A Metaspace that cuts before each space keeps tokens with a space inside from being made; llama.cpp makes them. */
function refuseCutting(steps: readonly Json[], { vocab, merges }: BpeModel): void {
  if (!steps.some(({ type, split }) => type === 'Metaspace' && split !== false)) return;
  const made = merges.find(([, right]) => right.includes('▁'));
  if (made && Object.hasOwn(vocab, made.join(''))) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `tokenizer.json: Metaspace with split never makes ${JSON.stringify(made.join(''))}, which llama.cpp would`,
      { where: 'tokenizer', details: { token: made.join('') } },
    );
  }
}

function flatten(step: unknown, key: string): Json[] {
  if (!step) return [];
  const { type, [key]: parts } = step as Json;
  return type === 'Sequence' ? (parts as unknown[]).flatMap((part) => flatten(part, key)) : [step as Json];
}
