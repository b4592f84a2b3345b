import type { StoredType } from './stored-types.js';

/**
 * What the repack module exports, one kernel for each type: `(from, rowBytes, to, blocks, panels)` for ggml blocks,
 * `(from, rowBytes, to, columns, panels)` for floats. `from` is row-major with whole panels of 8 rows.
 */
export type RepackKernel = `repack${StoredType}`;
