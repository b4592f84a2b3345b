import type { RopeConfig, RopeScaling } from '../rope.js';
import { count, flag, formatError, isObject, type JsonObject, positive, unsupported } from './config-fields.js';
import { MAX_CONTEXT } from './config-limits.js';

/** Reads `rope_theta` and `rope_scaling`, or the newer `rope_parameters` that holds both. */
export function parseRope(json: JsonObject, headDim: number): RopeConfig {
  const parameters = optionalObject(json, 'rope_parameters');
  if (parameters !== undefined && Object.values(parameters).some(isObject)) {
    throw unsupported(
      'rope_parameters',
      Object.keys(parameters),
      'one set of rotary parameters for all layers is expected',
    );
  }
  const key = parameters === undefined ? 'rope_scaling' : 'rope_parameters';
  const scaling = parameters ?? optionalObject(json, 'rope_scaling');
  const rotated = parameters?.partial_rotary_factor ?? json.partial_rotary_factor ?? 1;
  if (rotated !== 1) throw unsupported('partial_rotary_factor', rotated, 'all of a head must be rotated');
  const theta =
    parameters?.rope_theta === undefined ? positive(json, 'rope_theta', 10_000) : positive(parameters, 'rope_theta');
  return { theta, scaling: scaling === undefined ? { type: 'default' } : parseScaling(scaling, key, headDim) };
}

function parseScaling(json: JsonObject, key: string, headDim: number): RopeScaling {
  const type = json.rope_type ?? json.type ?? 'default';
  switch (type) {
    case 'default':
      return { type: 'default' };
    case 'linear':
      return { type: 'linear', factor: positive(json, 'factor') };
    case 'llama3': {
      const scaling = {
        type: 'llama3',
        factor: positive(json, 'factor'),
        lowFrequencyFactor: positive(json, 'low_freq_factor'),
        highFrequencyFactor: positive(json, 'high_freq_factor'),
        originalContextLength: count(json, 'original_max_position_embeddings', MAX_CONTEXT),
      } as const;
      if (scaling.highFrequencyFactor <= scaling.lowFrequencyFactor) {
        throw formatError(
          'high_freq_factor',
          scaling.highFrequencyFactor,
          `above low_freq_factor ${scaling.lowFrequencyFactor}`,
        );
      }
      return scaling;
    }
    case 'factors':
      return { type: 'factors', factors: parseFactors(json.factors, headDim) };
    default:
      throw unsupported(
        `${key}.rope_type`,
        type,
        'known types are default, linear and llama3 (others also change attention scores or depend on the input length)',
      );
  }
}

function parseFactors(value: unknown, headDim: number): number[] {
  const valid = Array.isArray(value) && value.length === headDim / 2;
  if (!valid || !value.every((factor) => Number.isFinite(factor) && factor > 0)) {
    throw formatError('factors', value, `a list of ${headDim / 2} numbers above 0`);
  }
  return value;
}

function optionalObject(json: JsonObject, key: string): JsonObject | undefined {
  const value = json[key];
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw formatError(key, value, 'an object or null');
  return value;
}

/** The window of each layer in tokens, undefined for full attention. */
export function parseWindows(json: JsonObject, layers: number, mode: 'none' | 'all' | 'qwen'): (number | undefined)[] {
  const full = new Array<number | undefined>(layers).fill(undefined);
  if (mode === 'none') return full;
  const off = mode === 'qwen' && !flag(json, 'use_sliding_window', false);
  const absent = json.sliding_window === undefined || json.sliding_window === null;
  const window = off || absent ? undefined : count(json, 'sliding_window', MAX_CONTEXT);
  const types = json.layer_types;
  if (types !== undefined && types !== null) {
    if (!Array.isArray(types) || types.length !== layers)
      throw formatError('layer_types', types, `a list of ${layers} names`);
    return types.map((type) => {
      if (type === 'full_attention') return undefined;
      if (type !== 'sliding_attention')
        throw unsupported('layer_types', type, 'known types are full_attention and sliding_attention');
      if (window === undefined)
        throw formatError(
          'sliding_window',
          json.sliding_window,
          'set (and in use) when layer_types has sliding_attention',
        );
      return window;
    });
  }
  // Qwen's first layers attend to everything.
  const first = mode === 'qwen' && window !== undefined ? fullLayers(json) : 0;
  return full.map((_, layer) => (layer >= first ? window : undefined));
}

function fullLayers(json: JsonObject): number {
  const value = json.max_window_layers ?? 28;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 65_536) {
    throw formatError('max_window_layers', value, 'a whole number from 0');
  }
  return value;
}
