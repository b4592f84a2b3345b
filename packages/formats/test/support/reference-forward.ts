/**
 * Forward passes in float64, written from the definitions in transformers (modeling_gemma*.py, modeling_phi*.py,
 * modeling_bert.py) and from nothing in this repository. Slow and plain: rows are number arrays.
 */
export type Config = Readonly<Record<string, unknown>>;
export interface Weight {
  readonly shape: readonly number[];
  readonly values: ArrayLike<number>;
}
export type Weights = ReadonlyMap<string, Weight>;
type Rows = number[][];

const get = (weights: Weights, name: string): Weight => {
  const found = weights.get(name);
  if (!found) throw new Error(`no weight ${name}`);
  return found;
};
const vector = (weights: Weights, name: string): number[] => Array.from(get(weights, name).values);
const rowOf = ({ shape, values }: Weight, row: number): number[] => {
  const width = shape[1] as number;
  return Array.from({ length: width }, (_, i) => values[row * width + i] as number);
};

function linear(weights: Weights, name: string, inputs: Rows): Rows {
  const weight = get(weights, `${name}.weight`);
  const bias = weights.get(`${name}.bias`);
  const rows = Array.from({ length: weight.shape[0] as number }, (_, row) => rowOf(weight, row));
  return inputs.map((x) =>
    rows.map((w, row) => w.reduce((sum, value, i) => sum + value * (x[i] as number), bias?.values[row] ?? 0)),
  );
}

const add = (a: Rows, b: Rows): Rows => a.map((row, i) => row.map((value, j) => value + (b[i]?.[j] as number)));
const rms = (x: number[], gain: number[], eps: number): number[] => {
  const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + eps);
  return x.map((v, i) => v * scale * (gain[i] as number));
};
function layerNorm(weights: Weights, name: string, inputs: Rows, eps: number): Rows {
  const gain = vector(weights, `${name}.weight`);
  const bias = vector(weights, `${name}.bias`);
  return inputs.map((x) => {
    const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
    const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length;
    return x.map((v, i) => ((v - mean) / Math.sqrt(variance + eps)) * (gain[i] as number) + (bias[i] as number));
  });
}
const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const silu = (x: number) => x / (1 + Math.exp(-x));

interface Rotary {
  readonly size: number;
  readonly theta: number;
  readonly divisors?: readonly number[];
  readonly scale?: number;
}

/** transformers' `rotate_half` on the first `size` values of a head. */
function rotate(head: number[], position: number, { size, theta, divisors, scale = 1 }: Rotary): number[] {
  const half = size / 2;
  return head.map((value, i) => {
    if (i >= size) return value;
    const pair = i % half;
    const angle = position / theta ** ((2 * pair) / size) / (divisors?.[pair] ?? 1);
    const other = i < half ? -(head[i + half] as number) : (head[i - half] as number);
    return scale * (value * Math.cos(angle) + other * Math.sin(angle));
  });
}

interface Attention {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly rotary?: Rotary;
  readonly sees: (query: number, key: number) => boolean;
  readonly cap?: number;
  readonly norm?: { readonly query: number[]; readonly key: number[]; readonly eps: number };
}

function attend(q: Rows, k: Rows, v: Rows, options: Attention): Rows {
  const { heads, kvHeads, headDim, scale, rotary, sees, cap, norm } = options;
  const headAt = (row: number[], head: number) => row.slice(head * headDim, (head + 1) * headDim);
  const turned = (rows: Rows, head: number, gain: number[] | undefined) =>
    rows.map((row, position) => {
      const part = headAt(row, head);
      const normed = norm && gain ? rms(part, gain, norm.eps) : part;
      return rotary ? rotate(normed, position, rotary) : normed;
    });
  const out: Rows = q.map(() => []);
  for (let head = 0; head < heads; head++) {
    const group = Math.floor(head / (heads / kvHeads));
    const queries = turned(q, head, norm?.query);
    const keys = turned(k, group, norm?.key);
    queries.forEach((query, i) => {
      const scores = keys.map((key, j) => {
        if (!sees(i, j)) return Number.NEGATIVE_INFINITY;
        const score = scale * query.reduce((sum, value, d) => sum + value * (key[d] as number), 0);
        return cap === undefined ? score : cap * Math.tanh(score / cap);
      });
      const most = Math.max(...scores);
      const powers = scores.map((score) => Math.exp(score - most));
      const total = powers.reduce((sum, power) => sum + power, 0);
      for (let d = 0; d < headDim; d++) {
        const sum = powers.reduce((acc, power, j) => acc + power * (v[j]?.[group * headDim + d] as number), 0);
        out[i]?.push(sum / total);
      }
    });
  }
  return out;
}

const causal = (query: number, key: number) => key <= query;
const n = (config: Config, key: string) => config[key] as number;

/** Logits of gemma, gemma2 and gemma3_text, `[tokens, vocabulary]`. */
export function gemmaLogits(config: Config, weights: Weights, tokens: readonly number[]): Rows {
  const version = { gemma: 1, gemma2: 2, gemma3_text: 3 }[config.model_type as string] as number;
  const eps = n(config, 'rms_norm_eps');
  const gain = (name: string) => vector(weights, `${name}.weight`).map((value) => 1 + value);
  const normed = (rows: Rows, name: string) => rows.map((row) => rms(row, gain(name), eps));
  const table = get(weights, 'model.embed_tokens.weight');
  let x = tokens.map((token) => rowOf(table, token).map((value) => value * Math.sqrt(n(config, 'hidden_size'))));
  for (let layer = 0; layer < n(config, 'num_hidden_layers'); layer++) {
    const name = `model.layers.${layer}`;
    const full = version === 1 || (config.layer_types as string[])[layer] === 'full_attention';
    const local = version === 3 && !full;
    const h = normed(x, `${name}.input_layernorm`);
    const [q, k, v] = ['q', 'k', 'v'].map((part) => linear(weights, `${name}.self_attn.${part}_proj`, h));
    const headDim = n(config, 'head_dim');
    const scaling = (config.rope_scaling ?? {}) as { factor?: number };
    const mixed = attend(q as Rows, k as Rows, v as Rows, {
      heads: n(config, 'num_attention_heads'),
      kvHeads: n(config, 'num_key_value_heads'),
      headDim,
      scale: 1 / Math.sqrt(version === 1 ? headDim : n(config, 'query_pre_attn_scalar')),
      rotary: {
        size: headDim,
        theta: local ? n(config, 'rope_local_base_freq') : n(config, 'rope_theta'),
        divisors: local ? undefined : new Array(headDim / 2).fill(scaling.factor ?? 1),
      },
      sees: (i, j) => causal(i, j) && (full || i - j < n(config, 'sliding_window')),
      ...(version === 2 && { cap: n(config, 'attn_logit_softcapping') }),
      ...(version === 3 && {
        norm: { query: gain(`${name}.self_attn.q_norm`), key: gain(`${name}.self_attn.k_norm`), eps },
      }),
    });
    const projected = linear(weights, `${name}.self_attn.o_proj`, mixed);
    x = add(x, version === 1 ? projected : normed(projected, `${name}.post_attention_layernorm`));
    const f = normed(x, `${name}.${version === 1 ? 'post_attention' : 'pre_feedforward'}_layernorm`);
    const up = linear(weights, `${name}.mlp.up_proj`, f);
    const gated = linear(weights, `${name}.mlp.gate_proj`, f).map((row, i) =>
      row.map((value, j) => gelu(value) * (up[i]?.[j] as number)),
    );
    const down = linear(weights, `${name}.mlp.down_proj`, gated);
    x = add(x, version === 1 ? down : normed(down, `${name}.post_feedforward_layernorm`));
  }
  const logits = linear(new Map([['head.weight', table]]), 'head', normed(x, 'model.norm'));
  const cap = config.final_logit_softcapping as number | null | undefined;
  return cap ? logits.map((row) => row.map((value) => cap * Math.tanh(value / cap))) : logits;
}

/** Logits of phi (1, 1.5, 2). */
export function phiLogits(config: Config, weights: Weights, tokens: readonly number[]): Rows {
  const eps = n(config, 'layer_norm_eps');
  const headDim = n(config, 'hidden_size') / n(config, 'num_attention_heads');
  let x = tokens.map((token) => rowOf(get(weights, 'model.embed_tokens.weight'), token));
  for (let layer = 0; layer < n(config, 'num_hidden_layers'); layer++) {
    const name = `model.layers.${layer}`;
    const h = layerNorm(weights, `${name}.input_layernorm`, x, eps);
    const [q, k, v] = ['q', 'k', 'v'].map((part) => linear(weights, `${name}.self_attn.${part}_proj`, h));
    const mixed = attend(q as Rows, k as Rows, v as Rows, {
      heads: n(config, 'num_attention_heads'),
      kvHeads: n(config, 'num_key_value_heads'),
      headDim,
      scale: 1 / Math.sqrt(headDim),
      rotary: { size: headDim * n(config, 'partial_rotary_factor'), theta: n(config, 'rope_theta') },
      sees: causal,
    });
    const hidden = linear(weights, `${name}.mlp.fc1`, h).map((row) => row.map(gelu));
    const feedForward = linear(weights, `${name}.mlp.fc2`, hidden);
    x = add(add(x, linear(weights, `${name}.self_attn.dense`, mixed)), feedForward);
  }
  return linear(weights, 'lm_head', layerNorm(weights, 'model.final_layernorm', x, eps));
}

/** Logits of phi3 for texts no longer than `original_max_position_embeddings`, or longer ones with `long`. */
export function phi3Logits(config: Config, weights: Weights, tokens: readonly number[], long = false): Rows {
  const eps = n(config, 'rms_norm_eps');
  const [heads, kvHeads] = [n(config, 'num_attention_heads'), n(config, 'num_key_value_heads')];
  const headDim = n(config, 'hidden_size') / heads;
  const scaling = config.rope_scaling as { long_factor: number[]; short_factor: number[] } | undefined;
  const original = n(config, 'original_max_position_embeddings');
  const stretch = n(config, 'max_position_embeddings') / original;
  const normed = (rows: Rows, name: string) => rows.map((row) => rms(row, vector(weights, `${name}.weight`), eps));
  let x = tokens.map((token) => rowOf(get(weights, 'model.embed_tokens.weight'), token));
  for (let layer = 0; layer < n(config, 'num_hidden_layers'); layer++) {
    const name = `model.layers.${layer}`;
    const fused = linear(weights, `${name}.self_attn.qkv_proj`, normed(x, `${name}.input_layernorm`));
    const [qEnd, kEnd] = [heads * headDim, (heads + kvHeads) * headDim];
    const mixed = attend(
      fused.map((row) => row.slice(0, qEnd)),
      fused.map((row) => row.slice(qEnd, kEnd)),
      fused.map((row) => row.slice(kEnd)),
      {
        heads,
        kvHeads,
        headDim,
        scale: 1 / Math.sqrt(headDim),
        rotary: {
          size: headDim * n(config, 'partial_rotary_factor'),
          theta: n(config, 'rope_theta'),
          ...(scaling && {
            divisors: long ? scaling.long_factor : scaling.short_factor,
            scale: Math.sqrt(1 + Math.log(stretch) / Math.log(original)),
          }),
        },
        sees: causal,
      },
    );
    x = add(x, linear(weights, `${name}.self_attn.o_proj`, mixed));
    const both = linear(weights, `${name}.mlp.gate_up_proj`, normed(x, `${name}.post_attention_layernorm`));
    const size = n(config, 'intermediate_size');
    const gated = both.map((row) => row.slice(size).map((up, i) => up * silu(row[i] as number)));
    x = add(x, linear(weights, `${name}.mlp.down_proj`, gated));
  }
  return linear(weights, 'lm_head', normed(x, 'model.norm'));
}

/** Last hidden states of bert, all tokens of segment 0, `[tokens, hidden]`. */
export function bertHidden(config: Config, weights: Weights, tokens: readonly number[]): Rows {
  const eps = n(config, 'layer_norm_eps');
  const heads = n(config, 'num_attention_heads');
  const headDim = n(config, 'hidden_size') / heads;
  const row = (table: string, index: number) => rowOf(get(weights, `embeddings.${table}_embeddings.weight`), index);
  let x = tokens.map((token, position) => {
    const [a, b] = [row('position', position), row('token_type', 0)];
    return row('word', token).map((value, i) => value + (a[i] as number) + (b[i] as number));
  });
  x = layerNorm(weights, 'embeddings.LayerNorm', x, eps);
  for (let layer = 0; layer < n(config, 'num_hidden_layers'); layer++) {
    const name = `encoder.layer.${layer}`;
    const [q, k, v] = ['query', 'key', 'value'].map((part) => linear(weights, `${name}.attention.self.${part}`, x));
    const options = { heads, kvHeads: heads, headDim, scale: 1 / Math.sqrt(headDim), sees: () => true };
    const mixed = linear(weights, `${name}.attention.output.dense`, attend(q as Rows, k as Rows, v as Rows, options));
    x = layerNorm(weights, `${name}.attention.output.LayerNorm`, add(x, mixed), eps);
    const hidden = linear(weights, `${name}.intermediate.dense`, x).map((values) => values.map(gelu));
    x = layerNorm(weights, `${name}.output.LayerNorm`, add(x, linear(weights, `${name}.output.dense`, hidden)), eps);
  }
  return x;
}
