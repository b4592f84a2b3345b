import type { Build } from '../unroll.js';
import { COLUMNS_SOURCE } from './columns.js';
import { narrowSource } from './narrow.js';
import { sparseSource } from './sparse.js';

/** What a quantized weight may have beside its codes: outliers, low-rank parts, scaled and reordered columns. */
export function sidesSource(build: Build): string {
  return [COLUMNS_SOURCE, narrowSource(build), sparseSource(build)].join('\n');
}
