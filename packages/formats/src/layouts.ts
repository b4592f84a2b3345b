export type { LayoutWriter, LazyQuantizedTensor, SplitWeight, WeightLayout } from '@halftone/tensor';
export { quantizedWeights } from './layouts/quantized-weights.js';
export { type StoredInLayout, type StoreInLayoutOptions, storeInLayout } from './layouts/store-in-layout.js';
