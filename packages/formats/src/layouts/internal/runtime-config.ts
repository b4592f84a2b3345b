/** What the writers of `quantization_config` share. */
import type { JsonObject } from '@halftone/tensor';
import { refuse } from './refuse.js';

/**
 * The modules that a runtime must not quantize, from the weights that are not. A head tied to the embedding has no weight to be
 * named by, but runtimes take it for a linear layer: it is listed unless its weight is quantized.
 */
export function unquantizedModules(weights: ReadonlyMap<string, unknown>, plain: readonly string[]): string[] {
  const modules = plain.map((name) => name.replace(/\.weight$/, ''));
  if (!weights.has('lm_head.weight') && !modules.includes('lm_head')) modules.push('lm_head');
  return modules;
}

/** The setting when all weights agree on it. Throws `UNSUPPORTED` naming two that do not. */
export function commonSetting<T>(weights: ReadonlyMap<string, JsonObject>, key: string, where: string): T | undefined {
  let first: { readonly name: string; readonly value: unknown } | undefined;
  for (const [name, settings] of weights) {
    const value = settings[key];
    first ??= { name, value };
    if (JSON.stringify(first.value) !== JSON.stringify(value)) {
      refuse(
        'UNSUPPORTED',
        where,
        name,
        `${key} ${JSON.stringify(value)} in one file with ${first.name}, which has ${JSON.stringify(first.value)}`,
      );
    }
  }
  return first?.value as T | undefined;
}
