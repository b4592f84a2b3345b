import { HalftoneError } from '@halftone/tensor';
import { templateProcessor } from './post-processor.js';
import { type SentencePieceToken, sentencePieceJson, TOKEN_TYPE } from './sentencepiece-json.js';
import type { TokenizerFiles } from './tokenizer-from-gguf.js';

/**
 * Reads the tokenizer file of llama2.c (`tokenizer.bin`, `tok512.bin`) as a `tokenizer.json`: int32 length of the
 * longest token, then for each token float32 score, int32 length, bytes. Ids 0, 1 and 2 are unknown, BOS and EOS, ids 3
 * to 258 the bytes. A BOS and a leading space are put in front of text, as llama2.c does.
 * Throws `FORMAT` naming the offset when the file does not hold exactly `vocabularySize` tokens.
 * Source: llama2.c, run.c `build_tokenizer`, tokenizer.py.
 */
export function tokenizerFromLlama2c(bytes: Uint8Array, vocabularySize: number): TokenizerFiles {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = new TextDecoder('utf-8', { ignoreBOM: true });
  const tokens: SentencePieceToken[] = [];
  let offset = 4;
  for (let id = 0; id < vocabularySize; id++) {
    const length = offset + 8 <= bytes.length ? view.getInt32(offset + 4, true) : -1;
    if (length < 0 || offset + 8 + length > bytes.length) {
      throw formatError(`token ${id} of ${vocabularySize} does not fit the file at offset ${offset}`, offset);
    }
    const piece = text.decode(bytes.subarray(offset + 8, offset + 8 + length));
    tokens.push(llama2cToken(id, piece, view.getFloat32(offset, true)));
    offset += 8 + length;
  }
  if (offset !== bytes.length) {
    throw formatError(`the file goes on after token ${vocabularySize - 1} at offset ${offset}`, offset);
  }
  const bos = { id: 1, text: '<s>' };
  return {
    tokenizerJson: sentencePieceJson(tokens, {
      addSpacePrefix: true,
      postProcessor: templateProcessor(bos, undefined),
    }),
    tokenizerConfig: {
      bos_token: '<s>',
      eos_token: '</s>',
      unk_token: '<unk>',
      add_bos_token: true,
      add_eos_token: false,
    },
  };
}

/** llama2.c stores spaces for U+2581 and puts line breaks around the names of BOS and EOS. */
function llama2cToken(id: number, piece: string, score: number): SentencePieceToken {
  if (id === 0) return { text: '<unk>', score, type: TOKEN_TYPE.unknown };
  if (id <= 2) return { text: id === 1 ? '<s>' : '</s>', score, type: TOKEN_TYPE.control };
  if (id <= 258) return { text: piece, score, type: TOKEN_TYPE.byte };
  return { text: piece.replaceAll(' ', '▁'), score, type: TOKEN_TYPE.normal };
}

function formatError(problem: string, offset: number): HalftoneError {
  return new HalftoneError('FORMAT', `${problem}; is the vocabulary size right?`, {
    where: 'tokenizer',
    details: { offset },
  });
}
