export { oracleAvailable } from './available.js';
export type { OracleOptions } from './child-process.js';
export { ggmlBlockInfo, ggmlDequantize, ggmlQuantize, ggmlQuantizeRef, type OracleBlockInfo } from './ggml.js';
export { ORACLE_GGML_TYPES, type OracleBlockType, type OracleGgmlType } from './ggml-type-ids.js';
export {
  type GgufListing,
  ggufListing,
  LLAMA_FILE_TYPES,
  type LlamaFileType,
  type LlamaLogits,
  type LlamaModelDescription,
  type LlamaQuantizeOptions,
  type LlamaRunOptions,
  type LlamaSpeed,
  type LlamaSpeedOptions,
  type LlamaTokenizeOptions,
  type LlamaVocabulary,
  llamaDescribe,
  llamaDetokenizeAll,
  llamaEmbeddings,
  llamaLogits,
  llamaLosses,
  llamaQuantize,
  llamaSpeed,
  llamaTokenize,
  llamaTokenizeAll,
  llamaVocabulary,
  llamaWindowLogits,
} from './llama.js';
