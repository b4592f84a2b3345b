import { HalftoneError } from '@halftone/tensor';

const WHERE = 'gguf-model';

/** A parsed `config.json`, or a part of one. */
export type Json = Readonly<Record<string, unknown>>;

/** Largest values that a configuration may claim. They keep shape products below 2^53 and loops short. */
export const LIMITS = {
  blocks: 10_000,
  heads: 65_536,
  width: 2 ** 24,
  vocabulary: 2 ** 26,
  context: 2 ** 31,
  tokenTypes: 65_536,
} as const;

/** A whole number from 1 to `most`. Throws `FORMAT` when the key is missing without `fallback` or absurd. */
export function whole(config: Json, key: string, most: number, fallback?: unknown): number {
  const value = config[key] ?? fallback;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value <= most) return value;
  throw invalid(key, value, `a whole number from 1 to ${most}`);
}

/** A finite number above 0. Throws `FORMAT` otherwise. */
export function positive(config: Json, key: string, fallback?: number): number {
  const value = config[key] ?? fallback;
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
  throw invalid(key, value, 'a positive number');
}

/** `positive`, or undefined where the key is absent or null. */
export function optionalPositive(config: Json, key: string): number | undefined {
  return config[key] === undefined || config[key] === null ? undefined : positive(config, key);
}

/** Size of a head from `head_dim`, or `embedding / heads`. Throws `FORMAT` when it is odd or the heads do not divide. */
export function headSizes(config: Json, defaultHeadDim?: number) {
  const embedding = whole(config, 'hidden_size', LIMITS.width);
  const heads = whole(config, 'num_attention_heads', LIMITS.heads);
  const kvHeads = whole(config, 'num_key_value_heads', LIMITS.heads, heads);
  const headDim =
    config.head_dim === undefined || config.head_dim === null
      ? (defaultHeadDim ?? headDimension(embedding, heads))
      : whole(config, 'head_dim', LIMITS.width);
  if (heads % kvHeads !== 0 || headDim % 2 !== 0) {
    throw new HalftoneError(
      'FORMAT',
      `config.json: ${heads} heads of size ${headDim} with ${kvHeads} key/value heads; heads must be a multiple of them and the size even`,
      { where: WHERE, details: { heads, kvHeads, headDim } },
    );
  }
  return { embedding, heads, kvHeads, headDim };
}

/** Throws `FORMAT` when the heads do not divide the embedding. */
export function headDimension(embedding: number, heads: number): number {
  if (embedding % heads !== 0) {
    throw new HalftoneError('FORMAT', `an embedding of ${embedding} does not divide into ${heads} heads`, {
      where: WHERE,
      details: { embedding, heads },
    });
  }
  return embedding / heads;
}

/** Rotated part of a head: `partial_rotary_factor` of it. Throws `FORMAT` when that is not an even size within the head. */
export function rotaryDimension(config: Json, headDim: number, fallback: number): number {
  const rope = (config.rope_parameters ?? {}) as Json;
  const factor = positive(
    { partial_rotary_factor: config.partial_rotary_factor ?? rope.partial_rotary_factor },
    'partial_rotary_factor',
    fallback,
  );
  const rotaryDim = Math.floor(headDim * factor);
  if (rotaryDim > 0 && rotaryDim <= headDim && rotaryDim % 2 === 0) return rotaryDim;
  throw invalid('partial_rotary_factor', factor, `such that an even number of a head's ${headDim} values are rotated`);
}

/** Throws `UNSUPPORTED` unless the activation is one that the GGUF architecture computes. */
export function requireActivation(activation: unknown, allowed: readonly string[]): void {
  if (!allowed.includes(String(activation))) {
    throw unsupported(`activation '${String(activation)}' is not ${allowed.join(' or ')}`, { activation });
  }
}

/** An object without the keys whose value is undefined. */
export function withoutUndefined(fields: Json): Json {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** For what `config.json` asks and the GGUF architecture does not compute. */
export function unsupported(problem: string, details: Readonly<Record<string, unknown>> = {}): HalftoneError {
  return new HalftoneError('UNSUPPORTED', `config.json: ${problem}`, { where: WHERE, details });
}

function invalid(key: string, value: unknown, expected: string): HalftoneError {
  const problem = value === undefined ? 'is missing' : `is ${String(value).slice(0, 60)}`;
  return new HalftoneError('FORMAT', `config.json: ${key} ${problem}; it must be ${expected}`, {
    where: WHERE,
    details: { key, value },
  });
}
