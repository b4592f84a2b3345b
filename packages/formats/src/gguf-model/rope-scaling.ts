import { type DType, decode, HalftoneError, type PackedTensor, sameShape } from '@halftone/tensor';
import type { GgufModelFile } from './architectures/form.js';
import { type Json, LIMITS, positive, unsupported, withoutUndefined } from './config-fields.js';
import { positiveNumberAt, stringAt, wholeNumberAt } from './read-metadata.js';
import { type Llama3RopeScaling, llama3RopeFactors, recogniseLlama3 } from './rope-factors.js';
import type { GgufExtraTensor } from './types.js';

const WHERE = 'gguf-model';

/**
 * `config.rope_scaling` for a file whose `rope_freqs.weight` is not one of llama 3's published settings. Rotary
 * frequency `i` is divided by `factors[i]`, `[headDim / 2]`. This `rope_type` exists only here: transformers has none
 * that takes factors alone.
 */
export interface FactorsRopeScaling {
  readonly rope_type: 'factors';
  readonly factors: readonly number[];
}

/** Rotary scaling as both naming schemes can say it. */
export type RopeScaling =
  | { readonly type: 'linear'; readonly factor: number }
  | {
      readonly type: 'yarn';
      readonly factor: number;
      readonly originalContext?: number;
      readonly betaFast?: number;
      readonly betaSlow?: number;
    }
  | ({ readonly type: 'llama3' } & Llama3RopeScaling)
  | { readonly type: 'factors'; readonly factors: readonly number[] };

/** `rope_scaling` of `config.json`. Throws `UNSUPPORTED` for a type that is not in `allowed`. */
export function describeRopeScaling(
  scaling: Json | null | undefined,
  allowed: readonly RopeScaling['type'][],
  headDim: number,
): RopeScaling | undefined {
  const type = scaling?.rope_type ?? scaling?.type ?? 'default';
  if (!scaling || type === 'default') return undefined;
  const optional = (key: string) => (typeof scaling[key] === 'number' ? positive(scaling, key) : undefined);
  const required = (key: string) => positive(scaling, key);
  if (allowed.includes(type as RopeScaling['type'])) {
    if (type === 'linear') return { type: 'linear', factor: required('factor') };
    if (type === 'yarn' && typeof scaling.attention_factor !== 'number') {
      return {
        type: 'yarn',
        factor: required('factor'),
        originalContext: optional('original_max_position_embeddings'),
        betaFast: optional('beta_fast'),
        betaSlow: optional('beta_slow'),
      };
    }
    if (type === 'llama3') {
      return {
        type: 'llama3',
        factor: required('factor'),
        low_freq_factor: required('low_freq_factor'),
        high_freq_factor: required('high_freq_factor'),
        original_max_position_embeddings: required('original_max_position_embeddings'),
      };
    }
    if (type === 'factors') {
      return { type: 'factors', factors: factorList(scaling.factors, headDim / 2, 'rope_scaling.factors') };
    }
  }
  throw unsupported(`rope_scaling ${JSON.stringify(scaling)} has no GGUF form for this architecture`, { type });
}

/** Divisors of rotary frequencies. Throws `FORMAT` unless they are `count` positive numbers. */
export function factorList(factors: unknown, count: number, key: string): number[] {
  const valid =
    Array.isArray(factors) && factors.every((factor) => typeof factor === 'number' && factor > 0 && factor < 1e9);
  if (valid && factors.length === count) return factors;
  throw new HalftoneError('FORMAT', `config.json: ${key} must be ${count} positive numbers`, {
    where: WHERE,
    details: { key, count },
  });
}

/** The `rope.scaling.*` keys, as `keyList` takes them. */
export function ropeScalingKeys(scaling: RopeScaling | undefined) {
  const keyed = scaling?.type === 'linear' || scaling?.type === 'yarn' ? scaling : undefined;
  const yarn = keyed?.type === 'yarn' ? keyed : undefined;
  return [
    ['rope.scaling.type', 'string', keyed?.type],
    ['rope.scaling.factor', 'f32', keyed?.factor],
    ['rope.scaling.original_context_length', 'u32', yarn?.originalContext],
    ['rope.scaling.yarn_beta_fast', 'f32', yarn?.betaFast],
    ['rope.scaling.yarn_beta_slow', 'f32', yarn?.betaSlow],
  ] as const;
}

/** `rope_freqs.weight`, where the scaling is one of factors. */
export function ropeFactorTensors(scaling: RopeScaling | undefined, theta: number, headDim: number): GgufExtraTensor[] {
  const tensor = (values: Float32Array) => [{ ggufName: 'rope_freqs.weight', shape: [values.length], values }];
  if (scaling?.type === 'llama3') return tensor(llama3RopeFactors(scaling, theta, headDim));
  if (scaling?.type === 'factors') return tensor(Float32Array.from(scaling.factors));
  return [];
}

/** The values of a tensor of rotary factors, `[rotaryDim / 2]`. Throws `SHAPE` for another form. */
export async function readRopeFactors({ tensors, sizes }: GgufModelFile, name: string) {
  const lazy = tensors.get(name);
  if (!lazy) return undefined;
  const shape = [sizes.rotaryDim / 2];
  if (!sameShape(lazy.shape, shape) || lazy.dtype !== 'f32') {
    throw new HalftoneError('SHAPE', `${name}: ${lazy.dtype} [${lazy.shape}] must be f32 [${shape}]`, {
      where: WHERE,
      details: { tensor: name, shape: lazy.shape },
    });
  }
  return decode((await lazy.read()) as PackedTensor<DType>);
}

/** `rope_scaling` of a GGUF file with llama's conventions. Throws `UNSUPPORTED` for scalings that are not known here. */
export async function ropeScalingOf(file: GgufModelFile): Promise<Json | undefined> {
  const { metadata, architecture } = file;
  const key = (name: string) => `${architecture}.rope.${name}`;
  const factors = await readRopeFactors(file, 'rope_freqs.weight');
  if (factors) {
    const llama3 = recogniseLlama3(factors, positiveNumberAt(metadata, key('freq_base'), 10_000));
    if (llama3) return { rope_type: 'llama3', ...llama3 };
    return { rope_type: 'factors', factors: Array.from(factors) } satisfies FactorsRopeScaling;
  }
  const type = stringAt(metadata, key('scaling.type')) ?? (metadata.has(key('scale_linear')) ? 'linear' : 'none');
  if (type === 'none') return undefined;
  if (type === 'linear') {
    const factor = positiveNumberAt(
      metadata,
      key('scaling.factor'),
      metadata.get(key('scale_linear')) as number | undefined,
    );
    return factor === 1 ? undefined : { rope_type: 'linear', factor };
  }
  if (type === 'yarn' && !metadata.has(key('scaling.attn_factor'))) {
    const optional = (name: string) => (metadata.has(key(name)) ? positiveNumberAt(metadata, key(name)) : undefined);
    const original = metadata.has(key('scaling.original_context_length'))
      ? wholeNumberAt(metadata, key('scaling.original_context_length'), LIMITS.context)
      : undefined;
    return withoutUndefined({
      rope_type: 'yarn',
      factor: positiveNumberAt(metadata, key('scaling.factor')),
      original_max_position_embeddings: original,
      beta_fast: optional('scaling.yarn_beta_fast'),
      beta_slow: optional('scaling.yarn_beta_slow'),
    });
  }
  throw new HalftoneError('UNSUPPORTED', `${key('scaling.type')}: rotary scaling '${type}' is not supported`, {
    where: WHERE,
    details: { type },
  });
}
