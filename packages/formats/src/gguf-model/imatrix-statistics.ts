import { HalftoneError, type InputStatistics } from '@halftone/tensor';
import { type Imatrix, type ImatrixEntry, imatrixMeans } from '../imatrix-entry.js';
import type { GgufArchitecture } from './architectures.js';
import { ggufTensorName, huggingFaceTensorName } from './tensor-names.js';

/**
 * An importance matrix as the statistics that quantizers take, by the Hugging Face name of the weight. `tokens` is the entry's
 * count, which is of chunks for `.dat` files. Only columns are weighed, so rows that GGUF orders otherwise do not matter.
 *
 * Throws `UNSUPPORTED` for weights that the architecture does not have and for merged experts.
 */
export function imatrixStatistics(imatrix: Imatrix, architecture: GgufArchitecture): Map<string, InputStatistics> {
  const statistics = new Map<string, InputStatistics>();
  for (const [name, entry] of imatrix.entries) {
    const hfName = huggingFaceTensorName(architecture, name);
    if (hfName === undefined) unsupported(`${name}: ${architecture} has no such tensor; check the architecture`, name);
    if (entry.counts.length > 1)
      unsupported(`${name}: has ${entry.counts.length} experts; take its rows one by one`, name);
    statistics.set(hfName, {
      tokens: entry.counts[0] as number,
      inputSquares: Float64Array.from(imatrixMeans(entry)),
    });
  }
  return statistics;
}

/**
 * Collected statistics as an importance matrix, for `writeImatrixGguf`. Sums are rounded to float32, which is what the files
 * hold, and so are counts of tokens above 2^24.
 *
 * Throws `UNSUPPORTED` for weights that the architecture does not have or without `inputSquares`.
 */
export function imatrixFromStatistics(
  statistics: ReadonlyMap<string, InputStatistics>,
  architecture: GgufArchitecture,
  about: Omit<Imatrix, 'entries'>,
): Imatrix {
  const entries = new Map<string, ImatrixEntry>();
  for (const [hfName, { tokens, inputSquares }] of statistics) {
    const name = ggufTensorName(architecture, hfName);
    if (name === undefined)
      unsupported(`${hfName}: ${architecture} has no such tensor; check the architecture`, hfName);
    if (inputSquares === undefined) unsupported(`${hfName}: has no inputSquares; collect them`, hfName);
    const count = Math.fround(tokens);
    entries.set(name, {
      sums: Float32Array.from(inputSquares, (mean) => mean * count),
      counts: Float64Array.of(count),
    });
  }
  return { ...about, entries };
}

function unsupported(message: string, name: string): never {
  throw new HalftoneError('UNSUPPORTED', message, { where: 'imatrix', details: { name } });
}
