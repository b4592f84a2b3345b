export { applyEdit, editedTensor, editOperands, type ReadTensor } from './apply-edit.js';
export type { FoldDecision, FoldOptions, FoldPlan } from './fold-plan.js';
export { planGainFold } from './gain-fold.js';
export { LAYER_NORM, layerNorm } from './layer-norm.js';
export { planLayerNormToRmsNorm } from './layer-norm-to-rms-norm.js';
export type { Norm, NormParameters } from './norm.js';
export { RMS_NORM, rmsNorm } from './rms-norm.js';
