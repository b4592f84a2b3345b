export type { AffineRule, ScaleDType, Symmetry } from './affine-rule.js';
export { type ExpandedGrid, expandGrid } from './expand-grid.js';
export { type ExpandedTable, expandTable, nearestTableCodes } from './expand-table.js';
export { minMax } from './fit-min-max.js';
export { MSE_SHRINK_DEFAULTS, type MseShrinkOptions, mseShrink } from './fit-mse-shrink.js';
export { type GgmlOptions, ggml } from './ggml.js';
export {
  ggmlFallback,
  ggmlMixture,
  MIXTURE_NAMES,
  type Mixture,
  type MixtureModel,
  type MixtureName,
  type MixtureTensor,
  type TensorRole,
} from './ggml-mixture.js';
export type { FrozenGrid, GridQuantizer } from './grid-quantizer.js';
export type { RangeFit } from './range-fit.js';
export { nearestCodes, roundNearest, withCodes } from './round-nearest.js';
export { RTN_DEFAULTS, type RtnOptions, rtn } from './rtn.js';
