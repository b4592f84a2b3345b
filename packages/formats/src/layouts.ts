export type { LayoutWriter, LazyQuantizedTensor, SplitWeight, WeightLayout } from '@halftone/tensor';
