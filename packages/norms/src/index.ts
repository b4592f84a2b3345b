export { LAYER_NORM, layerNorm } from './layer-norm.js';
export type { Norm, NormParameters } from './norm.js';
export { RMS_NORM, rmsNorm } from './rms-norm.js';
