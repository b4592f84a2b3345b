import { activationsSource } from './activations.js';
import { dequantizeSource } from './dequantize.js';
import { floatSource } from './float.js';
import { integerGemmSource } from './integer-gemm.js';
import { integerGemvSource } from './integer-gemv.js';
import { type Build, CONSTANTS } from './unroll.js';

/** The whole AssemblyScript source of a build. */
export function moduleSource(build: Build): string {
  return [
    CONSTANTS,
    floatSource(build),
    activationsSource(build),
    integerGemvSource(build),
    integerGemmSource(build),
    dequantizeSource(),
  ].join('\n');
}
