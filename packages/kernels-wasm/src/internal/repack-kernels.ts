import type { StoredType } from './stored-types.js';

/** IQ4_NL lies in files and in panels as Q4_0 does; only its table differs. */
export type RepackedBytes = Exclude<StoredType, 'IQ4_NL'>;

/**
 * What the repack module exports, one kernel for each type: `(from, rowBytes, to, blocks, panels)` for ggml blocks,
 * `(from, rowBytes, to, columns, panels)` for floats. `from` is row-major with whole panels of 8 rows.
 */
export type RepackKernel = `repack${RepackedBytes}`;

export function repackKernel(dtype: StoredType): RepackKernel {
  return `repack${dtype === 'IQ4_NL' ? 'Q4_0' : dtype}`;
}
