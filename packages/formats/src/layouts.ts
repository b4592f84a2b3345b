export type { LayoutWriter, LazyQuantizedTensor, SplitWeight, WeightLayout } from '@halftone/tensor';
export { WEIGHT_LAYOUTS } from './layouts/all-layouts.js';
export { halftone } from './layouts/native.js';
export { quantizedWeights } from './layouts/quantized-weights.js';
export { type StoredInLayout, type StoreInLayoutOptions, storeInLayout } from './layouts/store-in-layout.js';
export { bitsandbytes } from './layouts/bitsandbytes.js';
export { mlx } from './layouts/mlx.js';
export { type WithLayoutsOptions, withLayouts } from './layouts/with-layouts.js';
