import { type Build, CONSTANTS } from '../unroll.js';
import { activationsSource } from './activations.js';
import { dequantizeSource } from './dequantize.js';
import { floatSource } from './float.js';
import { integerGemmSource } from './integer-gemm.js';
import { integerGemvSource } from './integer-gemv.js';

/** Products of linear layers. */
export function productsSource(build: Build): string {
  return [
    CONSTANTS,
    floatSource(build),
    activationsSource(build),
    integerGemvSource(build),
    integerGemmSource(build),
    dequantizeSource(),
  ].join('\n');
}
