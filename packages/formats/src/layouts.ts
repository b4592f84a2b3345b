export { awq } from './layouts/awq.js';
export {
  COMPRESSED_TENSORS_DEFAULTS,
  type CompressedTensorsOptions,
  compressedTensors,
} from './layouts/compressed-tensors.js';
export { GPTQ_DEFAULTS, type GptqOptions, gptq } from './layouts/gptq.js';
export { type WithLayoutsOptions, withLayouts } from './layouts/with-layouts.js';
