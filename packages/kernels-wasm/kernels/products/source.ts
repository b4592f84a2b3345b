import { type Build, CONSTANTS } from '../unroll.js';
import { activationsSource } from './activations.js';
import { dequantizeSource } from './dequantize.js';
import { floatSource } from './float.js';
import { integerGemmSource } from './integer-gemm.js';
import { integerGemvSource } from './integer-gemv.js';
import { PANEL_OUTPUT } from './panel-output.js';

/** Products of linear layers. */
export function productsSource(build: Build): string {
  return [
    CONSTANTS,
    PANEL_OUTPUT,
    floatSource(build),
    activationsSource(build),
    integerGemvSource(build),
    integerGemmSource(build),
    dequantizeSource(build),
  ].join('\n');
}
