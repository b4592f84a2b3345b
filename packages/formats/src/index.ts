export {
  decodeGgml,
  GGML_CODECS,
  type GgmlCodec,
  iq1_m,
  iq1_s,
  iq2_s,
  iq2_xs,
  iq2_xxs,
  iq3_s,
  iq3_xxs,
  iq4_nl,
  iq4_xs,
  mxfp4,
  nvfp4,
  packGgml,
  q1_0,
  q2_0,
  q2_K,
  q3_K,
  q4_0,
  q4_1,
  q4_K,
  q5_0,
  q5_1,
  q5_K,
  q6_K,
  q8_0,
  repackAsGgml,
  tq1_0,
  tq2_0,
  unpackGgml,
} from './ggml/index.js';
export { type GgufCheckpoint, type GgufCodec, gguf, isGgufCheckpoint } from './gguf.js';
export { type GgufEditPlan, type GgufMetadataEdits, planGgufMetadataEdit } from './gguf-edit.js';
export { type GgufHeader, type GgufTensorInfo, readGgufHeader } from './gguf-header.js';
export { GGUF_ARCHITECTURES, type GgufArchitecture, isGgufArchitecture } from './gguf-model/architectures.js';
export { ggufAsHuggingFace, type HuggingFaceView } from './gguf-model/gguf-as-hugging-face.js';
export {
  applyGgufTransform,
  type GgufModelPlan,
  type HuggingFaceModel,
  huggingFaceToGguf,
} from './gguf-model/hugging-face-to-gguf.js';
export { imatrixFromStatistics, imatrixStatistics } from './gguf-model/imatrix-statistics.js';
export { permuteHeadRows, permuteRowsLazy } from './gguf-model/permute-rows.js';
export { type Llama3RopeScaling, llama3RopeFactors } from './gguf-model/rope-factors.js';
export type { FactorsRopeScaling } from './gguf-model/rope-scaling.js';
export { ggufRequiredTensors, ggufTensorName, huggingFaceTensorName } from './gguf-model/tensor-names.js';
export { transposeLazy } from './gguf-model/transpose-lazy.js';
export type { GgufExtraTensor, GgufTensorPlan, GgufTransform } from './gguf-model/types.js';
export {
  type GgufSplitOptions,
  ggufSplitNames,
  isGgufSplit,
  joinGgufSplits,
  planGgufSplits,
  writeGgufSplits,
} from './gguf-splits.js';
export type {
  GgufMetadataEntry,
  GgufScalarType,
  GgufValue,
  GgufValueType,
} from './gguf-types.js';
export {
  createGgufWriter,
  type GgufLayoutOptions,
  ggufLayout,
  type WriteGgufOptions,
  writeGguf,
} from './gguf-writer.js';
export { type HttpSourceOptions, httpSource } from './http-source.js';
export { readImatrix } from './imatrix.js';
export { readImatrixDat, writeImatrixDat } from './imatrix-dat.js';
export { type Imatrix, type ImatrixEntry, imatrixMeans } from './imatrix-entry.js';
export { readImatrixGguf, writeImatrixGguf } from './imatrix-gguf.js';
export { type WithLayoutsOptions, withLayouts } from './layouts/with-layouts.js';
export { llama2c, llama2cConfig } from './llama2c.js';
export { type MemorySink, memorySink } from './memory-sink.js';
export { arrayBufferSource, blobSource } from './memory-source.js';
export { type OpenCheckpointOptions, openCheckpoint } from './open-checkpoint.js';
export { safetensors } from './safetensors.js';
export { SAFETENSORS_DTYPES, SAFETENSORS_MAX_HEADER_BYTES } from './safetensors-header.js';
export {
  type OpenShardsOptions,
  openSafetensorsShards,
  parseSafetensorsIndex,
  planSafetensorsShards,
  SAFETENSORS_INDEX_NAME,
  type SafetensorsIndex,
  type SafetensorsShardPlan,
  type ShardOptions,
  type WriteShardsOptions,
  writeSafetensorsShards,
} from './safetensors-shards.js';
export {
  createSafetensorsWriter,
  type SafetensorsLayoutOptions,
  safetensorsLayout,
  type WriteSafetensorsOptions,
  writeSafetensors,
} from './safetensors-writer.js';
export { type StreamRowsOptions, streamRows } from './stream-rows.js';
export type {
  FileLayout,
  FilePlan,
  SinkFactory,
  TensorData,
  TensorDataProvider,
  TensorPlacement,
  TensorWriter,
  WriteDataOptions,
} from './tensor-writer.js';
export { tokenizerFromLlama2c } from './tokenizer/llama2c-tokenizer.js';
export { type TokenizerFiles, tokenizerFromGguf } from './tokenizer/tokenizer-from-gguf.js';
export { type TokenizerToGgufOptions, tokenizerToGguf } from './tokenizer/tokenizer-to-gguf.js';
