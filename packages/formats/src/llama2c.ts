import {
  type ByteSource,
  type Checkpoint,
  type FormatCodec,
  HalftoneError,
  type LazyTensor,
  type MetadataValue,
  type ReadOptions,
  type Shape,
} from '@halftone/tensor';
import { halfSplitRows } from './internal/half-split-rows.js';
import { lazyTensor } from './internal/lazy-tensor.js';

const HEADER_BYTES = 28;
const FIELDS = ['dim', 'hidden_dim', 'n_layers', 'n_heads', 'n_kv_heads', 'vocab_size', 'seq_len'] as const;

type Llama2cHeader = Record<(typeof FIELDS)[number], number>;

/**
 * Legacy llama2.c model files (`stories260K.bin`): seven int32, then float32 tensors of all layers, kind by kind.
 *
 * Tensors get their Hugging Face llama names. The file's query and key rows follow the interleaved RoPE convention; they
 * are re-ordered to the half-split one as they are read. The file holds no tensor names and no magic: it is recognised by
 * plausible header fields, so list this codec last. A negative vocabulary size means a separate classifier.
 * Source: llama2.c, run.c (memory_map_weights) and export.py (legacy_export).
 */
export const llama2c: FormatCodec = {
  name: 'llama2c',
  extensions: ['.bin'],
  sniff(head) {
    const fields = readFields(head);
    return fields.length >= 4 && problemOf(fields) === undefined;
  },
  open,
};

/** Configuration in Hugging Face's form of a checkpoint opened by `llama2c`. Throws `UNSUPPORTED` for others. */
export function llama2cConfig(checkpoint: Checkpoint): Record<string, unknown> {
  if (checkpoint.format !== 'llama2c') {
    throw new HalftoneError('UNSUPPORTED', `a ${checkpoint.format} checkpoint has no llama2.c header`, {
      where: 'llama2c',
    });
  }
  const field = (name: (typeof FIELDS)[number]) => checkpoint.metadata.get(name) as number;
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: field('dim'),
    intermediate_size: field('hidden_dim'),
    num_hidden_layers: field('n_layers'),
    num_attention_heads: field('n_heads'),
    num_key_value_heads: field('n_kv_heads'),
    head_dim: field('dim') / field('n_heads'),
    vocab_size: field('vocab_size'),
    max_position_embeddings: field('seq_len'),
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: 'silu',
    tie_word_embeddings: checkpoint.metadata.get('shared_classifier') as boolean,
    attention_bias: false,
    mlp_bias: false,
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: 'float32',
  };
}

function readFields(head: Uint8Array): number[] {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const count = Math.min(FIELDS.length, Math.floor(head.byteLength / 4));
  return Array.from({ length: count }, (_, i) => view.getInt32(i * 4, true));
}

/** Why these header fields (the first ones may suffice) cannot be a model's; undefined when they can. */
function problemOf(fields: readonly number[]): string | undefined {
  const limits = [1 << 16, 1 << 18, 1 << 10, 1 << 10, 1 << 10, 1 << 22, 1 << 22];
  for (const [i, field] of fields.entries()) {
    const value = FIELDS[i] === 'vocab_size' ? Math.abs(field) : field;
    if (value < 1 || value > (limits[i] as number)) return `${FIELDS[i]} ${field} is not from 1 to ${limits[i]}`;
  }
  const [dim, , , heads, kvHeads] = fields as [number, number, number, number, number?];
  if (dim % heads !== 0 || (dim / heads) % 2 !== 0)
    return `dim ${dim} does not divide into ${heads} heads of even size`;
  if (kvHeads !== undefined && (heads % kvHeads !== 0 || kvHeads > heads))
    return `${heads} heads do not share ${kvHeads} key heads`;
  return undefined;
}

async function open(source: ByteSource, options?: ReadOptions): Promise<Checkpoint> {
  if (source.size < HEADER_BYTES)
    fail(`${source.name}: ${source.size} bytes are too few for a llama2.c header`, { size: source.size });
  const fields = readFields(await source.read(0, HEADER_BYTES, options));
  const problem = problemOf(fields);
  if (problem !== undefined) fail(`${source.name}: ${problem}; the file is not a legacy llama2.c model`, { fields });
  const header = Object.fromEntries(FIELDS.map((name, i) => [name, fields[i]])) as Llama2cHeader;
  const sharedClassifier = header.vocab_size > 0;
  header.vocab_size = Math.abs(header.vocab_size);

  const tensors = new Map<string, LazyTensor>();
  let offset = HEADER_BYTES;
  for (const { name, shape, heads } of tensorsOf(header, sharedClassifier)) {
    const byteLength = shape.reduce((product, n) => product * n, 4);
    if (offset + byteLength > source.size) {
      fail(
        `${source.name}: ${name ?? 'a skipped table'} needs bytes to ${offset + byteLength}, the file has ${source.size}; it is cut off`,
        {
          name,
          size: source.size,
        },
      );
    }
    if (name !== undefined) {
      const stored = lazyTensor({ source, where: 'llama2c', name, dtype: 'f32', shape, offset, byteLength });
      tensors.set(name, heads === undefined ? stored : halfSplitRows(stored, (shape[0] as number) / heads));
    }
    offset += byteLength;
  }
  if (offset !== source.size) {
    fail(
      `${source.name}: its header describes ${offset} bytes, the file has ${source.size}; it is not a legacy llama2.c model`,
      {
        expected: offset,
        size: source.size,
      },
    );
  }
  const metadata = new Map<string, MetadataValue>([...Object.entries(header), ['shared_classifier', sharedClassifier]]);
  return {
    format: 'llama2c',
    metadata,
    tensors,
    byteLength: source.size,
    async close() {
      await source.close?.();
    },
  };
}

interface StoredShape {
  /** Undefined for what is skipped. */
  readonly name?: string;
  readonly shape: Shape;
  /** Heads whose rows are stored interleaved. */
  readonly heads?: number;
}

/** Everything in the file, in file order. */
function* tensorsOf(header: Llama2cHeader, sharedClassifier: boolean): Generator<StoredShape> {
  const {
    dim,
    hidden_dim: hidden,
    n_heads: heads,
    n_kv_heads: kvHeads,
    vocab_size: vocabulary,
    seq_len: context,
  } = header;
  const headDim = dim / heads;
  const kvDim = kvHeads * headDim;
  const layers = Array.from({ length: header.n_layers }, (_, i) => `model.layers.${i}`);
  function* inEachLayer(suffix: string, shape: Shape, interleavedHeads?: number): Generator<StoredShape> {
    for (const layer of layers) yield { name: `${layer}.${suffix}`, shape, heads: interleavedHeads };
  }
  yield { name: 'model.embed_tokens.weight', shape: [vocabulary, dim] };
  yield* inEachLayer('input_layernorm.weight', [dim]);
  yield* inEachLayer('self_attn.q_proj.weight', [dim, dim], heads);
  yield* inEachLayer('self_attn.k_proj.weight', [kvDim, dim], kvHeads);
  yield* inEachLayer('self_attn.v_proj.weight', [kvDim, dim]);
  yield* inEachLayer('self_attn.o_proj.weight', [dim, dim]);
  yield* inEachLayer('post_attention_layernorm.weight', [dim]);
  yield* inEachLayer('mlp.gate_proj.weight', [hidden, dim]);
  yield* inEachLayer('mlp.down_proj.weight', [dim, hidden]);
  yield* inEachLayer('mlp.up_proj.weight', [hidden, dim]);
  yield { name: 'model.norm.weight', shape: [dim] };
  // Cosines and sines of RoPE.
  yield { shape: [2, context, headDim / 2] };
  if (!sharedClassifier) yield { name: 'lm_head.weight', shape: [vocabulary, dim] };
}

function fail(message: string, details: Record<string, unknown>): never {
  throw new HalftoneError('FORMAT', message, { where: 'llama2c', details });
}
