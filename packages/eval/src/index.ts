export { type Comparison, compare, compareMany, type KlReport } from './compare.js';
export { type Estimate, estimateMean, quantile } from './estimate.js';
export type { LogitsBlock, LogitsModel } from './logits-model.js';
export { type PerplexityOptions, type PerplexityResult, perplexity } from './perplexity.js';
export { PROTOCOLS, type Protocol, protocolWindows, type ResolvedProtocol, resolveProtocol } from './protocols.js';
export { type TransformerLogitsOptions, transformerLogits } from './transformer-logits.js';
export { checkpointBytes, type TensorBytes, type WeightBytes, type WeightEntry, weightBytes } from './weight-bytes.js';
export { type BosMode, type Window, type WindowOptions, windows } from './windows.js';
