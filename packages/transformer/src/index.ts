export { ARCHITECTURES, type ArchitectureName } from './architectures/index.js';
export { defaultBackend } from './backends/default.js';
export { referenceBackend } from './backends/reference.js';
export { type Block, type BlockContext, type LoadBlockOptions, loadBlock } from './block.js';
export { applyChatTemplate, type ChatMessage, type ChatTemplateOptions } from './chat.js';
export { kvShape, type ModelConfig, parseConfig } from './config.js';
export {
  type FinishReason,
  type GeneratedText,
  type GeneratedToken,
  type GenerateOptions,
  type GeneratingModel,
  generate,
  generateText,
} from './generate.js';
export {
  createModel,
  type Embedding,
  type ForwardOptions,
  type Head,
  loadEmbedding,
  loadHead,
  type ModelOptions,
  type TransformerModel,
} from './model.js';
export {
  ggufModelSource,
  huggingFaceModelSource,
  type LayoutOptions,
  llama2cModelSource,
  type ModelFolder,
} from './model-files.js';
export {
  graphTensors,
  type ModelSource,
  type ModelSourceInit,
  modelSource,
  type TokenizerFiles,
} from './model-source.js';
export { type OpenModelUrlOptions, openModelUrl } from './open-model-url.js';
export {
  applyRope,
  type RopeConfig,
  type RopeScaling,
  type RopeTables,
  ropeFrequencies,
  ropeTables,
} from './rope.js';
export {
  greedy,
  logProbability,
  penalizeRepetition,
  SAMPLING_DEFAULTS,
  type SamplingOptions,
  sampler,
  sampleToken,
  type TokenDistribution,
  tokenDistribution,
} from './sampling.js';
export type { Taps } from './taps.js';
export {
  type DecodeOptions,
  type DecodeStream,
  type EncodeOptions,
  loadTokenizer,
  type Tokenizer,
} from './tokenizer.js';
export { type LoadOptions, loadLinear, loadVector, type WeightOverride } from './weights.js';
export { type Workspace, workspace } from './workspace.js';
