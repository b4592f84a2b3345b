import { GGML_TYPES, type GgmlType, type TensorEntry } from '@halftone/tensor';
import {
  type GgufMetadataEntry,
  huggingFaceToGguf,
  memorySink,
  type TensorPlacement,
  tokenizerToGguf,
  writeGguf,
  writeImatrixDat,
  writeImatrixGguf,
  writeSafetensors,
} from '../src/index.js';
import { TINY_MODELS, tinyTensors } from '../test/support/tiny-models.js';
import { npyFile, zipFile } from '../test/support/zip-files.js';

/** Small valid files that fuzzing starts from. */

const countUp = ({ byteLength }: TensorPlacement) => Uint8Array.from({ length: byteLength }, (_, i) => (i * 37) & 0x3f);
const entry = (name: string, dtype: TensorEntry['dtype'], ...shape: number[]): TensorEntry => ({ name, dtype, shape });

export async function safetensorsSeeds(): Promise<Uint8Array[]> {
  const sets = [
    [entry('a', 'f32', 2, 3), entry('b.weight', 'bf16', 4), entry('c', 'u8', 0, 5), entry('d', 'i64')],
    [entry('x', 'f8_e4m3', 3, 8), entry('y', 'bool', 2), entry('z', 'f4_e2m1', 2, 4), entry('ü', 'f6_e2m3', 4)],
  ];
  return Promise.all(
    sets.map(async (entries) => {
      const sink = memorySink();
      await writeSafetensors(sink, entries, { metadata: { format: 'pt', note: 'a "note"' }, data: countUp });
      return sink.bytes();
    }),
  );
}

async function ggufBytes(tensors: readonly TensorEntry[], metadata: readonly GgufMetadataEntry[]): Promise<Uint8Array> {
  const sink = memorySink();
  await writeGguf(sink, tensors, { metadata, data: countUp });
  return sink.bytes();
}

const GGUF_VALUES: readonly GgufMetadataEntry[] = [
  { key: 'general.architecture', type: 'string', value: 'llama' },
  { key: 'general.alignment', type: 'u32', value: 32 },
  { key: 'u8', type: 'u8', value: 200 },
  { key: 'i64', type: 'i64', value: -5n },
  { key: 'f64', type: 'f64', value: 0.5 },
  { key: 'flag', type: 'bool', value: true },
  { key: 'tokens', type: 'string[]', value: ['a', 'bc', '', 'ü'] },
  { key: 'scores', type: 'f32[]', value: [1, 2, 3] },
  { key: 'longs', type: 'u64[]', value: [1n, 2n] },
];

export async function ggufSeeds(): Promise<Uint8Array[]> {
  return [
    await ggufBytes([entry('w', 'f32', 2, 3), entry('b', 'i16', 5), entry('q', 'Q8_0', 2, 32)], GGUF_VALUES),
    await ggufBytes([], GGUF_VALUES.slice(2)),
    await ggufBytes([entry('cube', 'bf16', 2, 1, 2, 2)], []),
  ];
}

/** One block of each of these types, two types a file. */
export function ggmlBlockSeeds(types: readonly GgmlType[]): Promise<Uint8Array[]> {
  const pairs = Array.from({ length: Math.ceil(types.length / 2) }, (_, i) => types.slice(2 * i, 2 * i + 2));
  return Promise.all(
    pairs.map((pair) =>
      ggufBytes(
        pair.map((type) => entry(type, type, 1, GGML_TYPES[type].blockSize)),
        [],
      ),
    ),
  );
}

/** One block of a llama and of a GPT-2, four values wide. */
export async function ggufModelSeeds(): Promise<Uint8Array[]> {
  const small = {
    hidden_size: 4,
    intermediate_size: 4,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    head_dim: 2,
    vocab_size: 3,
  };
  const configs = [
    { ...TINY_MODELS.llama, ...small, num_key_value_heads: 1, attention_bias: false, mlp_bias: false },
    { ...TINY_MODELS.gpt2, n_embd: 4, n_layer: 1, vocab_size: 3, n_positions: 2 },
  ];
  return Promise.all(
    configs.map((configJson) => {
      const { metadata, tensors } = huggingFaceToGguf({ configJson, tensors: tinyTensors(configJson) });
      return ggufBytes(
        tensors.map(({ ggufName, shape }) => entry(ggufName, 'f32', ...shape)),
        metadata,
      );
    }),
  );
}

/** dim 4, hidden 4, one layer, two heads, one key head, three tokens, context 2. */
export function llama2cSeeds(): Uint8Array[] {
  return [3, -3].map((vocabulary) => {
    const [dim, hidden, heads, kvHeads, context] = [4, 4, 2, 1, 2];
    const kvDim = (dim / heads) * kvHeads;
    const layer = 2 * dim + 2 * dim * dim + 2 * kvDim * dim + 3 * dim * hidden;
    const tables = vocabulary < 0 ? 2 : 1;
    const count = 3 * dim * tables + layer + dim + context * (dim / heads);
    const bytes = new Uint8Array(28 + 4 * count);
    new Int32Array(bytes.buffer, 0, 7).set([dim, hidden, 1, heads, kvHeads, vocabulary, context]);
    return bytes;
  });
}

const STATISTICS = {
  datasets: ['text'],
  chunkCount: 2,
  chunkSize: 4,
  entries: new Map([
    ['blk.0.attn_q.weight', { sums: Float32Array.of(1, 2, 3, 4), counts: Float64Array.of(8) }],
    ['output.weight', { sums: Float32Array.of(0.5), counts: Float64Array.of(8) }],
  ]),
};

export async function imatrixDatSeeds(): Promise<Uint8Array[]> {
  const sink = memorySink();
  await writeImatrixDat(sink, STATISTICS);
  // The oldest files end with the entries.
  return [sink.bytes(), sink.bytes().slice(0, -12)];
}

export async function imatrixGgufSeeds(): Promise<Uint8Array[]> {
  const sink = memorySink();
  await writeImatrixGguf(sink, STATISTICS);
  return [sink.bytes()];
}

export const BYTE_LEVEL_TOKENIZER = {
  added_tokens: [{ id: 0, content: '<|end|>', special: true }],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<|end|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [],
    special_tokens: { '<|end|>': { id: '<|end|>', ids: [0], tokens: ['<|end|>'] } },
  },
  decoder: { type: 'ByteLevel' },
  model: { type: 'BPE', vocab: { '<|end|>': 0, a: 1, b: 2, ab: 3, Ġ: 4 }, merges: ['a b'] },
};

/** `<0x00>` to `<0xFF>`, with ids from `first` on. */
function byteTokens(first: number): Record<string, number> {
  const name = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
  return Object.fromEntries(Array.from({ length: 256 }, (_, byte) => [name(byte), first + byte]));
}

export const SENTENCEPIECE_TOKENIZER = {
  added_tokens: [
    { id: 0, content: '<unk>', special: true },
    { id: 1, content: '<s>', special: true },
  ],
  normalizer: { type: 'Sequence', normalizers: [{ type: 'Replace', pattern: { String: ' ' }, content: '▁' }] },
  pre_tokenizer: null,
  post_processor: null,
  model: {
    type: 'BPE',
    byte_fallback: true,
    unk_token: '<unk>',
    vocab: { '<unk>': 0, '<s>': 1, ...byteTokens(2), a: 258, b: 259, ab: 260, '▁': 261 },
    merges: [['a', 'b']],
  },
};

export async function ggufTokenizerSeeds(): Promise<Uint8Array[]> {
  const files = [BYTE_LEVEL_TOKENIZER, SENTENCEPIECE_TOKENIZER];
  return Promise.all(files.map((json) => ggufBytes([], tokenizerToGguf(json, { eos: 0 }))));
}

export function jsonSeeds(...values: readonly object[]): Uint8Array[] {
  return values.map((value) => new TextEncoder().encode(JSON.stringify(value)));
}

export function npySeeds(): Uint8Array[] {
  const dictionary = (descr: string, order: string, shape: string) =>
    `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`;
  const data = Uint8Array.from({ length: 24 }, (_, i) => i);
  return [
    npyFile(dictionary('<f4', 'False', '(2, 3)'), data),
    npyFile(dictionary('>i2', 'True', '(3, 2, 2)'), data, 3),
    npyFile(dictionary('|b1', 'False', '()'), [1], 2),
  ];
}

export function npzSeeds(): Uint8Array[] {
  const [matrix, cube, scalar] = npySeeds() as [Uint8Array, Uint8Array, Uint8Array];
  return [
    zipFile([
      { name: 'stored.npy', bytes: matrix, zip64: 'local' },
      { name: 'deflated.npy', bytes: cube, deflate: true },
    ]),
    zipFile([{ name: 'wide.npy', bytes: scalar, deflate: true, zip64: 'directory' }]),
  ];
}
