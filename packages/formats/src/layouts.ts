export type { LayoutWriter, LazyQuantizedTensor, SplitWeight, WeightLayout } from '@halftone/tensor';
export { WEIGHT_LAYOUTS } from './layouts/all-layouts.js';
export { aqlm } from './layouts/aqlm.js';
export { awq } from './layouts/awq.js';
export { bitsandbytes } from './layouts/bitsandbytes.js';
export {
  COMPRESSED_TENSORS_DEFAULTS,
  type CompressedTensorsOptions,
  compressedTensors,
} from './layouts/compressed-tensors.js';
export { fp8 } from './layouts/fp8.js';
export { GPTQ_DEFAULTS, type GptqOptions, gptq } from './layouts/gptq.js';
export { hqq } from './layouts/hqq.js';
export { keepingLast, type WeightReader } from './layouts/keeping-last.js';
export { mlx } from './layouts/mlx.js';
export { mxfp4 } from './layouts/mxfp4.js';
export { halftone } from './layouts/native.js';
export { quantizedWeights } from './layouts/quantized-weights.js';
export { SQUEEZELLM_DEFAULTS, type SqueezellmOptions, squeezellm } from './layouts/squeezellm.js';
export { type StoredInLayout, type StoreInLayoutOptions, storeInLayout } from './layouts/store-in-layout.js';
export { vptq } from './layouts/vptq.js';
export { type WithLayoutsOptions, withLayouts } from './layouts/with-layouts.js';
