export type { LayoutWriter, LazyQuantizedTensor, SplitWeight, WeightLayout } from '@halftone/tensor';
export { WEIGHT_LAYOUTS } from './layouts/all-layouts.js';
export { halftone } from './layouts/native.js';
export { quantizedWeights } from './layouts/quantized-weights.js';
export { type StoredInLayout, type StoreInLayoutOptions, storeInLayout } from './layouts/store-in-layout.js';
