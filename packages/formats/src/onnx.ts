export type { OnnxDecoderWeights } from './onnx/decoder/decoder-weights.js';
export type { OnnxPart, OnnxWeightMode } from './onnx/decoder/parts.js';
export {
  ONNX_DECODER_DEFAULTS,
  type OnnxDecoderOptions,
  type OnnxDecoderPlan,
  planOnnxDecoder,
} from './onnx/decoder/plan-decoder.js';
export { type WriteOnnxDecoderOptions, writeOnnxDecoder } from './onnx/decoder/write-decoder.js';
export { encodeOnnxModel } from './onnx/encode-model.js';
export {
  type MatMulNBitsForm,
  type MatMulNBitsWeight,
  matMulNBitsForm,
  packMatMulNBits,
  unpackMatMulNBits,
} from './onnx/matmul-nbits.js';
export type {
  OnnxAttribute,
  OnnxExternalData,
  OnnxInitializer,
  OnnxModel,
  OnnxNode,
  OnnxValue,
} from './onnx/model.js';
export {
  isOnnxCheckpoint,
  type OnnxCheckpoint,
  type OnnxCodec,
  type OnnxOptions,
  onnx,
  onnxCodec,
} from './onnx/onnx-checkpoint.js';
export { onnxLayout } from './onnx/onnx-layout.js';
export { packQdq, type QdqForm, type QdqWeight, qdqForm } from './onnx/qdq.js';
