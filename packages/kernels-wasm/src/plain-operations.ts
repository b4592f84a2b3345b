import type { Operations } from './operations.js';
import { activate } from './plain/activate.js';
import { add } from './plain/add.js';
import { argmax } from './plain/argmax.js';
import { layerNorm } from './plain/layer-norm.js';
import { logSumExp } from './plain/log-sum-exp.js';
import { quantize } from './plain/quantize.js';
import { rmsNorm } from './plain/rms-norm.js';
import { rotate, rotateInterleaved } from './plain/rotate.js';
import { softmax } from './plain/softmax.js';
import { topK } from './plain/top-k.js';
import { walshHadamard } from './plain/walsh-hadamard.js';

/**
 * The operations in TypeScript, for engines without WebAssembly SIMD and as a reference: sums are in float64, everything returns
 * when it is done, and nothing throws `DEVICE`.
 */
export function plainOperations(): Operations {
  return {
    rmsNorm,
    layerNorm,
    rotate,
    rotateInterleaved,
    activate,
    add,
    softmax,
    walshHadamard,
    topK,
    argmax,
    logSumExp,
    quantize,
  };
}
