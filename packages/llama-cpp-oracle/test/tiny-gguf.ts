/** A GGUF file of a small random llama model, written byte by byte: this test must not lean on the code it judges. */
export interface TinyModel {
  readonly embedding: number;
  readonly hidden: number;
  readonly layers: number;
  readonly vocabulary: number;
}

type Value = string | number | { readonly float: number } | readonly string[] | readonly number[];

/** The bytes of the file. Byte-level BPE without merges; tokens are `t0`, `t1`, ... after the 256 byte symbols. */
export function tinyGguf(
  { embedding, hidden, layers, vocabulary }: TinyModel,
  omit: readonly string[] = [],
): Uint8Array {
  const symbols = byteSymbols();
  const tokens = Array.from({ length: vocabulary }, (_, i) => symbols[i] ?? `t${i}`);
  const metadata: [string, Value][] = [
    ['general.architecture', 'llama'],
    ['llama.context_length', 64],
    ['llama.embedding_length', embedding],
    ['llama.block_count', layers],
    ['llama.feed_forward_length', hidden],
    ['llama.attention.head_count', 4],
    ['llama.attention.head_count_kv', 2],
    ['llama.attention.layer_norm_rms_epsilon', { float: 1e-5 }],
    ['llama.rope.freq_base', { float: 10000 }],
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', 'gpt-2'],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', tokens.map(() => 1)],
    ['tokenizer.ggml.merges', ['h e']],
    ['tokenizer.ggml.eos_token_id', 0],
  ];
  const kv = embedding / 2;
  const shapes: [string, number[]][] = [
    ['token_embd.weight', [vocabulary, embedding]],
    ['output_norm.weight', [embedding]],
    ...Array.from({ length: layers }, (_, i): [string, number[]][] => [
      [`blk.${i}.attn_norm.weight`, [embedding]],
      [`blk.${i}.attn_q.weight`, [embedding, embedding]],
      [`blk.${i}.attn_k.weight`, [kv, embedding]],
      [`blk.${i}.attn_v.weight`, [kv, embedding]],
      [`blk.${i}.attn_output.weight`, [embedding, embedding]],
      [`blk.${i}.ffn_norm.weight`, [embedding]],
      [`blk.${i}.ffn_gate.weight`, [hidden, embedding]],
      [`blk.${i}.ffn_up.weight`, [hidden, embedding]],
      [`blk.${i}.ffn_down.weight`, [embedding, hidden]],
    ]).flat(),
  ];
  const kept = metadata.filter(([key]) => !omit.includes(key));

  const parts: Uint8Array[] = [];
  let length = 0;
  const push = (bytes: Uint8Array): void => {
    parts.push(bytes);
    length += bytes.length;
  };
  const u32 = (value: number): void => push(new Uint8Array(Uint32Array.of(value).buffer));
  const u64 = (value: number): void => push(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  const f32 = (value: number): void => push(new Uint8Array(Float32Array.of(value).buffer));
  const text = (value: string): void => {
    const utf8 = new TextEncoder().encode(value);
    u64(utf8.length);
    push(utf8);
  };
  push(new TextEncoder().encode('GGUF'));
  u32(3);
  u64(shapes.length);
  u64(kept.length);
  for (const [key, value] of kept) {
    text(key);
    if (typeof value === 'string') {
      u32(8);
      text(value);
    } else if (typeof value === 'number') {
      u32(4);
      u32(value);
    } else if ('float' in value) {
      u32(6);
      f32(value.float);
    } else {
      const strings = typeof value[0] === 'string';
      u32(9);
      u32(strings ? 8 : 5);
      u64(value.length);
      for (const item of value) strings ? text(String(item)) : u32(Number(item));
    }
  }
  let offset = 0;
  for (const [name, shape] of shapes) {
    text(name);
    u32(shape.length);
    for (const dimension of shape.toReversed()) u64(dimension);
    u32(0);
    u64(offset);
    offset += Math.ceil((4 * shape.reduce((a, b) => a * b)) / 32) * 32;
  }
  push(new Uint8Array((32 - (length % 32)) % 32));
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  for (const [, shape] of shapes) {
    const count = shape.reduce((a, b) => a * b);
    const scale = shape.length === 1 ? 0 : 4 / Math.sqrt(shape[1]);
    const values = Float32Array.from({ length: count }, () => (scale === 0 ? 1 : scale * random()));
    push(new Uint8Array(values.buffer));
    push(new Uint8Array((32 - (length % 32)) % 32));
  }
  const file = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

/** GPT-2's printable stand-ins for the 256 bytes, by byte. */
function byteSymbols(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCodePoint(printable ? byte : next++);
  });
}
