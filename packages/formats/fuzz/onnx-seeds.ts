import { encode, type QuantizedTensor } from '@halftone/tensor';
import {
  encodeOnnxModel,
  type OnnxAttribute,
  type OnnxInitializer,
  type OnnxModelInit,
  type OnnxNode,
  packMatMulNBits,
  packQdq,
} from '../src/onnx.js';
import { affine } from '../test/support/sample-weights.js';

/** Small ONNX models: graphs with every kind of attribute, initializers of every width, and quantized matrices. */

type Attributes = Readonly<Record<string, OnnxAttribute>>;

function node(opType: string, inputs: readonly string[], attributes: Attributes): OnnxNode {
  const domain = opType === 'MatMulNBits' ? 'com.microsoft' : '';
  return { name: 'n', opType, domain, inputs, outputs: ['y'], attributes: new Map(Object.entries(attributes)) };
}

function model(nodes: readonly OnnxNode[]): OnnxModelInit {
  return {
    irVersion: 10,
    producerName: 'p',
    producerVersion: '1',
    domain: '',
    modelVersion: 3,
    docString: 'ü',
    opsets: new Map([
      ['', 21],
      ['com.microsoft', 1],
    ]),
    metadata: new Map([['k', '{}']]),
    graph: {
      name: 'g',
      nodes,
      inputs: [{ name: 'x', dtype: 'f32', shape: ['batch', 3] }],
      outputs: [{ name: 'y', dtype: 'f32', shape: ['batch', 2] }],
    },
  };
}

const int = (value: number): OnnxAttribute => ({ type: 'int', value });

export function onnxSeeds(): Uint8Array[] {
  const attributes: Attributes = {
    large: { type: 'int', value: 2n ** 62n },
    epsilon: { type: 'float', value: 0.5 },
    axes: { type: 'ints', value: [-1, 300] },
    weights: { type: 'floats', value: [1, -0.25] },
    mode: { type: 'string', value: 'tanh' },
  };
  const tensors: OnnxInitializer[] = [
    { name: 'f', dtype: 'f32', shape: [2, 3], data: encode([1, 2, 3, 4, 5, 6], 'f32').bytes },
    { name: 'i', dtype: 'i64', shape: [1], data: new Uint8Array(8) },
    { name: 'q', dtype: 'u4', shape: [3, 3], data: new Uint8Array(5) },
    { name: 'e', dtype: 'bf16', shape: [0, 4], data: new Uint8Array(0) },
    { name: 's', dtype: 'bool', shape: [], data: new Uint8Array(1) },
    { name: 'o', dtype: 'f16', shape: [2], data: { location: 'w.data', offset: 16, length: 4 } },
  ];
  return [
    encodeOnnxModel(model([node('Add', ['x', '', 'f'], attributes), node('Gelu', ['y'], {})]), tensors),
    encodeOnnxModel(model([]), tensors.slice(0, 1)),
  ];
}

function matMulNBits(weight: QuantizedTensor): Uint8Array {
  const { form, B, scales, zeroPoints } = packMatMulNBits(weight);
  const tensors: OnnxInitializer[] = [
    { name: 'w_Q4', dtype: 'u8', shape: B.shape, data: B.bytes },
    { name: 's', dtype: 'f32', shape: [form.N, form.blocks], data: scales.bytes },
  ];
  if (zeroPoints) tensors.push({ name: 'z', dtype: 'u8', shape: zeroPoints.shape, data: zeroPoints.bytes });
  const inputs = ['x', ...tensors.map(({ name }) => name)];
  const sizes = { K: int(form.K), N: int(form.N), bits: int(form.bits), block_size: int(form.blockSize) };
  return encodeOnnxModel(model([node('MatMulNBits', inputs, sizes)]), tensors);
}

function dequantizeLinear(weight: QuantizedTensor, attributes: Attributes): Uint8Array {
  const { form, codes, scales, zeroPoints } = packQdq(weight);
  const tensors: OnnxInitializer[] = [
    { name: 'c', dtype: form.dtype, shape: form.shape, data: codes.bytes },
    { name: 's', dtype: 'f32', shape: form.scaleShape, data: scales.bytes },
  ];
  if (zeroPoints) tensors.push({ name: 'z', dtype: form.dtype, shape: form.scaleShape, data: zeroPoints.bytes });
  const inputs = tensors.map(({ name }) => name);
  return encodeOnnxModel(model([node('DequantizeLinear', inputs, attributes)]), tensors);
}

export function onnxLayoutSeeds(): Uint8Array[] {
  const grouped = affine({ rows: 3, columns: 20, bits: 4, groupSize: 16 });
  return [
    matMulNBits(grouped),
    dequantizeLinear(grouped, { axis: int(1), block_size: int(16) }),
    dequantizeLinear(affine({ rows: 3, columns: 5, bits: 8, groupSize: 0, signed: true, zeros: 'none' }), {
      axis: int(0),
    }),
  ];
}
