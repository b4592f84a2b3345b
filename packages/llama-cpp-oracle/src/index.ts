export { oracleAvailable } from './available.js';
export {
  ggmlBlockInfo,
  ggmlDequantize,
  ggmlQuantize,
  ggmlQuantizeRef,
  type OracleBlockInfo,
} from './ggml.js';
export {
  ORACLE_GGML_TYPES,
  type OracleBlockType,
  type OracleGgmlType,
} from './ggml-type-ids.js';
