import { type Checkpoint, encode, type LazyTensor } from '@halftone/tensor';
import { ARCHITECTURES, graphTensors, type ModelSource, modelSource, parseConfig } from '@halftone/transformer';

const SIZES = { vocab_size: 45, max_position_embeddings: 32 };

export const LLAMA = {
  ...SIZES,
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-5,
};

/** Its linear weights are stored `[in, out]`. */
export const GPT2 = {
  model_type: 'gpt2',
  architectures: ['GPT2LMHeadModel'],
  n_embd: 64,
  n_layer: 2,
  n_head: 2,
  n_positions: 32,
  vocab_size: 45,
  activation_function: 'gelu_new',
};

/** A float32 model of random weights in memory, without a tokenizer. */
export function randomModel(configJson: Readonly<Record<string, unknown>>): ModelSource {
  const config = parseConfig(configJson);
  const { graph, prefix } = ARCHITECTURES[config.architecture];
  const tensors = new Map<string, LazyTensor>();
  let state = 1;
  for (const [name, shape] of graphTensors(graph(config, prefix), config)) {
    const isGain = shape.length === 1 && name.endsWith('weight');
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (isGain ? 1 : 0) + (state / 2 ** 32 - 0.5) * 0.4;
    });
    tensors.set(name, floatTensor(name, shape, values));
  }
  return modelSource({ configJson, checkpoint: memoryCheckpoint(tensors) });
}

export function memoryCheckpoint(tensors: ReadonlyMap<string, LazyTensor>): Checkpoint {
  return { format: 'memory', metadata: new Map(), tensors, byteLength: 0, async close() {} };
}

function floatTensor(name: string, shape: readonly number[], values: Float32Array): LazyTensor<'f32'> {
  const columns = shape.slice(1).reduce((a, b) => a * b, 1);
  return {
    kind: 'lazy',
    name,
    dtype: 'f32',
    shape,
    byteLength: values.byteLength,
    async read({ start, end } = { start: 0, end: shape[0] as number }) {
      return encode(values.subarray(start * columns, end * columns), 'f32', [end - start, ...shape.slice(1)]);
    },
  };
}
