import { layerNorm, rmsNorm } from '@halftone/norms';
import type { BlockKernels } from '@halftone/tensor';
import { activate } from '../activation.js';
import { attention } from '../attention.js';
import { applyRope } from '../rope.js';

/** The rest of a block in plain TypeScript, on arrays of the JavaScript heap: for backends that multiply matrices only. */
export function plainBlockKernels(): BlockKernels {
  return {
    allocate: (length) => new Float32Array(length),
    free() {},
    rmsNorm,
    layerNorm,
    rotate: applyRope,
    activate,
    add(x, y, length) {
      for (let i = 0; i < length; i++) x[i] += y[i];
    },
    attend: attention(),
  };
}
