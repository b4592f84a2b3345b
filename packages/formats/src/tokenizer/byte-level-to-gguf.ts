import { HalftoneError } from '@halftone/tensor';
import type { GgufMetadataEntry } from '../gguf-types.js';
import { type BpeModel, mergeRanks, mergesReach } from './bpe-model.js';
import { detectPreTokenizer, preTokenizerOf } from './pre-tokenizers.js';
import { TOKEN_TYPE } from './sentencepiece-json.js';
import type { Json, TokenList } from './token-list.js';

/**
 * Keys of a byte-level BPE tokenizer (`gpt2`). llama.cpp normalizes nothing, so with the NFC normalizer of Qwen it agrees
 * on text that is in that form already, and knows no stripping of spaces around added tokens.
 * Throws `UNSUPPORTED` for another normalizer, for a way of cutting text that llama.cpp has no name for, and for tokens
 * that one side finds whole and the other only by merges.
 */
export function byteLevelEntries(
  tokenizerJson: Json,
  model: BpeModel,
  { texts, types }: TokenList,
  pre: string | undefined,
): GgufMetadataEntry[] {
  refuseNormalizer(tokenizerJson.normalizer as Json | null | undefined);
  const name = pre ?? detectPreTokenizer(tokenizerJson.pre_tokenizer as Json | null, model.ignoreMerges);
  if (pre === undefined && preTokenizerOf(name).ignoreMerges !== model.ignoreMerges) {
    const ranks = mergeRanks(model.merges);
    const lost = texts.find((text, id) => types[id] === TOKEN_TYPE.normal && !mergesReach(text, ranks));
    if (lost !== undefined) {
      throw new HalftoneError(
        'UNSUPPORTED',
        `tokenizer.json: ignore_merges is ${model.ignoreMerges}, llama.cpp's '${name}' takes the opposite, and no merges lead to ${JSON.stringify(lost)}`,
        { where: 'tokenizer', details: { pre: name, token: lost } },
      );
    }
  }
  return [
    { key: 'tokenizer.ggml.model', type: 'string', value: 'gpt2' },
    { key: 'tokenizer.ggml.pre', type: 'string', value: name },
    { key: 'tokenizer.ggml.merges', type: 'string[]', value: model.merges.map((pair) => pair.join(' ')) },
  ];
}

function refuseNormalizer(normalizer: Json | null | undefined): void {
  if (!normalizer || normalizer.type === 'NFC') return;
  if (normalizer.type === 'Sequence') {
    for (const part of normalizer.normalizers as Json[]) refuseNormalizer(part);
    return;
  }
  throw new HalftoneError(
    'UNSUPPORTED',
    `tokenizer.json: the normalizer ${String(normalizer.type)} has no GGUF form; llama.cpp cuts byte-level text as it is`,
    { where: 'tokenizer', details: { normalizer: normalizer.type } },
  );
}
