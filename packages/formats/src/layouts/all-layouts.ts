import type { WeightLayout } from '@halftone/tensor';
import { aqlm } from './aqlm.js';
import { awq } from './awq.js';
import { bitsandbytes } from './bitsandbytes.js';
import { compressedTensors } from './compressed-tensors.js';
import { fp8 } from './fp8.js';
import { gptq } from './gptq.js';
import { hqq } from './hqq.js';
import { mlx } from './mlx.js';
import { mxfp4 } from './mxfp4.js';
import { halftone } from './native.js';
import { squeezellm } from './squeezellm.js';
import { vptq } from './vptq.js';

/** Every layout of quantized weights, in the order in which they are tried. Import single ones where the size of a bundle matters. */
export const WEIGHT_LAYOUTS: readonly WeightLayout[] = [
  halftone,
  aqlm,
  /* @__PURE__ */ squeezellm(),
  vptq,
  /* @__PURE__ */ gptq(),
  awq,
  /* @__PURE__ */ compressedTensors(),
  bitsandbytes,
  fp8,
  mxfp4,
  hqq,
  mlx,
];
