import { exponentialSource } from '../block/exponential.js';
import { VECTORS } from '../block/vectors.js';
import type { Build } from '../unroll.js';
import { QUANTIZE } from './quantize.js';
import { SOFTMAX } from './softmax.js';
import { TOP_K } from './top-k.js';
import { walshHadamardSource } from './walsh-hadamard.js';

/** Operations on rows that the backend does without. */
export function signalSource(build: Build): string {
  return [VECTORS, exponentialSource(build), SOFTMAX, walshHadamardSource(), TOP_K, QUANTIZE].join('\n');
}
