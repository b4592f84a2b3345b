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
