/** Reading `quantization_config`: nothing in it is certain. */
import { HalftoneError, type JsonObject } from '@halftone/tensor';

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object's own value of `key`; undefined for what it inherits, and for null. */
export function own(object: JsonObject | undefined, key: string): unknown {
  return object !== undefined && Object.hasOwn(object, key) ? (object[key] ?? undefined) : undefined;
}

/** `config.quantization_config`, or `config` itself where a tool keeps the settings in a file of their own. */
export function quantizationConfig(config: JsonObject | undefined): JsonObject | undefined {
  if (!isObject(config)) return undefined;
  const inner = own(config, 'quantization_config');
  return isObject(inner) ? inner : config;
}

/** `quant_method` in lower case. */
export function quantMethod(settings: JsonObject | undefined): string | undefined {
  const method = own(settings, 'quant_method');
  return typeof method === 'string' ? method.toLowerCase() : undefined;
}

/** A whole number from the first of `keys` that is present. Throws `FORMAT` when none is, or it is not in `lowest .. highest`. */
export function wholeSetting(
  settings: JsonObject | undefined,
  keys: readonly string[],
  lowest: number,
  highest: number,
  where: string,
): number {
  const value = keys.map((key) => own(settings, key)).find((candidate) => candidate !== undefined);
  if (Number.isInteger(value) && (value as number) >= lowest && (value as number) <= highest) return value as number;
  throw new HalftoneError(
    'FORMAT',
    `quantization_config: ${keys.join(' or ')} is ${JSON.stringify(value) ?? 'missing'}, not a whole number of ${lowest} .. ${highest}`,
    { where, details: { keys, value } },
  );
}
