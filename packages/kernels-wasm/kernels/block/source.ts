import type { Build } from '../unroll.js';
import { elementwiseSource } from './elementwise.js';
import { exponentialSource } from './exponential.js';
import { normsSource } from './norms.js';
import { ROTATE } from './rotate.js';
import { VECTORS } from './vectors.js';

/** What a transformer block computes beside linear layers and attention. */
export function blockSource(build: Build): string {
  return [VECTORS, exponentialSource(build), normsSource(build), ROTATE, elementwiseSource(build)].join('\n');
}
