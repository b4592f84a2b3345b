import type { ActivationName, KvShape } from '@halftone/tensor';
import { ARCHITECTURES, type ArchitectureName } from './architectures/index.js';
import { formatError, isObject, type JsonObject, unsupported } from './internal/config-fields.js';
import type { RopeConfig } from './rope.js';

/** What a config.json says about a model, checked and in one form for all architectures. */
export interface ModelConfig {
  readonly architecture: ArchitectureName;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  /** Positions run from 0 to `contextLength - 1`. */
  readonly contextLength: number;
  readonly norm: 'rms' | 'layer';
  readonly normEpsilon: number;
  readonly activation: ActivationName;
  /** `down(activation(gate(x)) * up(x))` instead of `down(activation(up(x)))`. */
  readonly gatedMlp: boolean;
  /** Rotary positions; without them positions are learned vectors added to the embedding. */
  readonly rope?: RopeConfig;
  readonly queryBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm of every query and key head before the rotation. */
  readonly headNorms: boolean;
  /** For each layer: the tokens a token sees, itself included; undefined for all earlier ones. */
  readonly windows: readonly (number | undefined)[];
  /** The head is the embedding. */
  readonly tiedHead: boolean;
  readonly bosTokens: readonly number[];
  readonly eosTokens: readonly number[];
}

/**
 * Reads a Hugging Face config.json (text, or the parsed object).
 *
 * Throws `FORMAT` naming the key for a value that is missing or out of range, and `UNSUPPORTED` with the reason for a model
 * that cannot be run faithfully: unknown architectures, other RoPE scalings, packed quantized weights.
 */
export function parseConfig(config: string | object): ModelConfig {
  const json = parseConfigJson(config);
  const architecture = findArchitecture(json);
  // MLX has `quantization`, newer versions both, and no method.
  const settings = ['quantization_config', 'quantization'].find((key) => isObject(json[key]));
  if (settings !== undefined) {
    const { quant_method: method } = json[settings] as JsonObject;
    throw unsupported(
      method === undefined ? settings : `${settings}.quant_method`,
      method ?? json[settings],
      'no layout that was given reads it; pass the one that does, or open the unquantized model',
    );
  }
  return ARCHITECTURES[architecture].parse(json);
}

/** The shape of the key/value cache that fits this model. */
export function kvShape(config: ModelConfig): KvShape {
  return { layers: config.layers, kvHeads: config.kvHeads, headDim: config.headDim };
}

/** The object in a config.json. Throws `FORMAT` for what is none. */
export function parseConfigJson(config: string | object): JsonObject {
  const json = typeof config === 'string' ? parseJson(config) : config;
  if (!isObject(json)) throw formatError('the file', json, 'a JSON object');
  return json;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw formatError('the file', text.slice(0, 20), 'JSON');
  }
}

function findArchitecture(json: JsonObject): ArchitectureName {
  const classes: unknown = json.architectures;
  const className = Array.isArray(classes) && classes.length > 0 ? classes[0] : undefined;
  const names = Object.keys(ARCHITECTURES) as ArchitectureName[];
  const found = names.find((name) =>
    className === undefined ? json.model_type === name : ARCHITECTURES[name].classNames.includes(className),
  );
  if (found === undefined) {
    const key = className === undefined ? 'model_type' : 'architectures';
    const known = names.map((name) => (className === undefined ? name : ARCHITECTURES[name].classNames[0])).join(', ');
    throw unsupported(key, className ?? json.model_type, `known ones are ${known}`);
  }
  return found;
}
