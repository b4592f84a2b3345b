/**
 * An independent forward pass for tests: plain loops over numbers, straight from the Hugging Face config keys and tensor
 * names, one row at a time with full attention recomputed. Shares no code with the package.
 */
import type { Weight } from './tiny-models.js';

// biome-ignore lint/suspicious/noExplicitAny: untyped on purpose, to be read like the Python original.
type Json = Record<string, any>;
type Vector = number[];

export function plainLogits(config: Json, weights: ReadonlyMap<string, Weight>, tokens: readonly number[]): Vector[] {
  return config.model_type === 'gpt2' ? gpt2(config, weights, tokens) : llama(config, weights, tokens);
}

function matrix(weights: ReadonlyMap<string, Weight>, name: string): Vector[] {
  const weight = weights.get(name);
  if (weight === undefined) throw new Error(name);
  const [rows, columns] = weight.shape;
  return Array.from({ length: rows }, (_, r) =>
    Array.from({ length: columns }, (_, c) => weight.values[r * columns + c]),
  );
}
const vector = (weights: ReadonlyMap<string, Weight>, name: string): Vector | undefined => {
  const weight = weights.get(name);
  return weight && [...weight.values];
};
const dot = (a: Vector, b: Vector) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const add = (a: Vector, b: Vector | undefined) => (b ? a.map((value, i) => value + b[i]) : a);
const apply = (rows: Vector[], x: Vector) => rows.map((row) => dot(row, x));
const transpose = (rows: Vector[]) => rows[0].map((_, c) => rows.map((row) => row[c]));

function rms(x: Vector, gain: Vector, epsilon: number): Vector {
  const scale = Math.sqrt(dot(x, x) / x.length + epsilon);
  return x.map((value, i) => (value / scale) * gain[i]);
}
function layer(x: Vector, gain: Vector, bias: Vector, epsilon: number): Vector {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const centred = x.map((value) => value - mean);
  return rms(centred, gain, epsilon).map((value, i) => value + bias[i]);
}
function softmax(x: Vector): Vector {
  const max = Math.max(...x);
  const e = x.map((value) => Math.exp(value - max));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((value) => value / total);
}
/** Error function by Simpson's rule. */
function erf(x: number): number {
  const n = 2000;
  const h = x / n;
  let sum = 1 + Math.exp(-x * x);
  for (let i = 1; i < n; i++) sum += (i % 2 === 1 ? 4 : 2) * Math.exp(-((i * h) ** 2));
  return ((2 / Math.sqrt(Math.PI)) * sum * h) / 3;
}
const activations: Record<string, (x: number) => number> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_new: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};
activations.gelu_pytorch_tanh = activations.gelu_new;

function heads(x: Vector, size: number): Vector[] {
  return Array.from({ length: x.length / size }, (_, h) => x.slice(h * size, (h + 1) * size));
}

/** Each token attends to itself and the tokens before it, at most `window` in all. */
function attention(q: Vector[][], k: Vector[][], v: Vector[][], window: number): Vector[] {
  return q.map((row, t) =>
    row.flatMap((query, h) => {
      const kv = Math.floor((h * k[0].length) / row.length);
      const first = Math.max(0, t - window + 1);
      const seen = Array.from({ length: t - first + 1 }, (_, i) => first + i);
      const p = softmax(seen.map((s) => dot(query, k[s][kv]) / Math.sqrt(query.length)));
      return query.map((_, i) => seen.reduce((sum, s, j) => sum + p[j] * v[s][kv][i], 0));
    }),
  );
}

function frequency(config: Json, i: number, dim: number): number {
  const scaling = config.rope_parameters ?? config.rope_scaling ?? {};
  const theta = scaling.rope_theta ?? config.rope_theta ?? 10000;
  const inverse = 1 / theta ** ((2 * i) / dim);
  const type = scaling.rope_type ?? 'default';
  if (type === 'linear') return inverse / scaling.factor;
  if (type !== 'llama3') return inverse;
  const old = scaling.original_max_position_embeddings;
  const wavelength = (2 * Math.PI) / inverse;
  if (wavelength < old / scaling.high_freq_factor) return inverse;
  if (wavelength > old / scaling.low_freq_factor) return inverse / scaling.factor;
  const smooth = (old / wavelength - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * (inverse / scaling.factor) + smooth * inverse;
}

function rotate(config: Json, x: Vector, position: number): Vector {
  const half = x.length / 2;
  return x.map((value, i) => {
    const angle = position * frequency(config, i % half, x.length);
    const other = i < half ? -x[i + half] : x[i - half];
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}

function llama(config: Json, weights: ReadonlyMap<string, Weight>, tokens: readonly number[]): Vector[] {
  const dim = config.head_dim ?? config.hidden_size / config.num_attention_heads;
  const epsilon = config.rms_norm_eps;
  const activation = activations[config.hidden_act ?? 'silu'];
  const linear = (name: string, x: Vector) =>
    add(apply(matrix(weights, `${name}.weight`), x), vector(weights, `${name}.bias`));
  const gain = (name: string) => vector(weights, `${name}.weight`) as Vector;
  const embedding = matrix(weights, 'model.embed_tokens.weight');
  let hidden = tokens.map((token) => embedding[token]);
  for (let l = 0; l < config.num_hidden_layers; l++) {
    const name = `model.layers.${l}.`;
    const sliding = config.model_type === 'mistral' || (config.use_sliding_window && l >= config.max_window_layers);
    const normed = hidden.map((x) => rms(x, gain(`${name}input_layernorm`), epsilon));
    const project = (part: string, turn: boolean) =>
      normed.map((x, t) =>
        heads(linear(`${name}self_attn.${part}_proj`, x), dim).map((head) => {
          const norm = vector(weights, `${name}self_attn.${part}_norm.weight`);
          const scaled = norm ? rms(head, norm, epsilon) : head;
          return turn ? rotate(config, scaled, t) : scaled;
        }),
      );
    const window = sliding ? config.sliding_window : Number.POSITIVE_INFINITY;
    const mixed = attention(project('q', true), project('k', true), project('v', false), window);
    hidden = hidden.map((x, t) => add(x, linear(`${name}self_attn.o_proj`, mixed[t])));
    hidden = hidden.map((x) => {
      const input = rms(x, gain(`${name}post_attention_layernorm`), epsilon);
      const up = linear(`${name}mlp.up_proj`, input);
      const gated = linear(`${name}mlp.gate_proj`, input).map((value, i) => activation(value) * up[i]);
      return add(x, linear(`${name}mlp.down_proj`, gated));
    });
  }
  const head = config.tie_word_embeddings ? embedding : matrix(weights, 'lm_head.weight');
  return hidden.map((x) => apply(head, rms(x, gain('model.norm'), epsilon)));
}

function gpt2(config: Json, weights: ReadonlyMap<string, Weight>, tokens: readonly number[]): Vector[] {
  const dim = config.n_embd / config.n_head;
  const get = (name: string) => vector(weights, `transformer.${name}`) as Vector;
  const conv = (name: string, x: Vector) =>
    add(apply(transpose(matrix(weights, `transformer.${name}.weight`)), x), get(`${name}.bias`));
  const norm = (name: string, x: Vector) => layer(x, get(`${name}.weight`), get(`${name}.bias`), 1e-5);
  const embedding = matrix(weights, 'transformer.wte.weight');
  const positions = matrix(weights, 'transformer.wpe.weight');
  let hidden = tokens.map((token, t) => add(embedding[token], positions[t]));
  for (let l = 0; l < config.n_layer; l++) {
    const fused = hidden.map((x) => conv(`h.${l}.attn.c_attn`, norm(`h.${l}.ln_1`, x)));
    const part = (i: number) => fused.map((x) => heads(x.slice(i * config.n_embd, (i + 1) * config.n_embd), dim));
    const mixed = attention(part(0), part(1), part(2), Number.POSITIVE_INFINITY);
    hidden = hidden.map((x, t) => add(x, conv(`h.${l}.attn.c_proj`, mixed[t])));
    hidden = hidden.map((x) => {
      const up = conv(`h.${l}.mlp.c_fc`, norm(`h.${l}.ln_2`, x)).map(activations[config.activation_function]);
      return add(x, conv(`h.${l}.mlp.c_proj`, up));
    });
  }
  return hidden.map((x) => apply(embedding, norm('ln_f', x)));
}
