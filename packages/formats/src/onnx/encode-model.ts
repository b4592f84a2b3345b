import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { HalftoneError } from '@halftone/tensor';
import { onnxDataType } from './data-types.js';
import {
  ATTRIBUTE,
  ATTRIBUTE_TYPES,
  DIMENSION,
  ENTRY,
  EXTERNAL,
  GRAPH,
  MODEL,
  NODE,
  OPERATOR_SET,
  SHAPE,
  TENSOR,
  TENSOR_TYPE,
  TYPE,
  VALUE,
} from './internal/onnx-proto.js';
import type { OnnxAttribute, OnnxInitializer, OnnxModel, OnnxNode, OnnxValue } from './model.js';

/** Protobuf messages end below 2 GiB. */
const LARGEST_MESSAGE = 2 ** 31 - 1;

/**
 * The bytes of an `.onnx` file. Weights of any size belong in external data: throws `UNSUPPORTED` when those inside would pass
 * protobuf's 2 GiB, for types that ONNX lacks, and for attributes whose value is not known.
 */
export function encodeOnnxModel(model: OnnxModel, initializers: readonly OnnxInitializer[]): Uint8Array {
  let inside = 0;
  for (const { data } of initializers) inside += data instanceof Uint8Array ? data.length : 0;
  if (inside > LARGEST_MESSAGE) {
    refuse(`${inside} bytes of weights inside the model pass protobuf's limit of 2 GiB; put them in external data`);
  }
  const writer = new BinaryWriter();
  integer(writer, MODEL.irVersion, model.irVersion);
  text(writer, MODEL.producerName, model.producerName);
  text(writer, MODEL.producerVersion, model.producerVersion);
  text(writer, MODEL.domain, model.domain);
  if (model.modelVersion !== 0) integer(writer, MODEL.modelVersion, model.modelVersion);
  text(writer, MODEL.docString, model.docString);
  message(writer, MODEL.graph, () => writeGraph(writer, model, initializers));
  for (const [domain, version] of model.opsets) {
    message(writer, MODEL.opsetImport, () => {
      text(writer, OPERATOR_SET.domain, domain);
      integer(writer, OPERATOR_SET.version, version);
    });
  }
  for (const [key, value] of model.metadata) entry(writer, MODEL.metadataProps, key, value);
  return writer.finish();
}

function writeGraph(writer: BinaryWriter, { graph }: OnnxModel, initializers: readonly OnnxInitializer[]): void {
  for (const node of graph.nodes) message(writer, GRAPH.node, () => writeNode(writer, node));
  text(writer, GRAPH.name, graph.name);
  for (const initializer of initializers) message(writer, GRAPH.initializer, () => writeTensor(writer, initializer));
  for (const value of graph.inputs) message(writer, GRAPH.input, () => writeValue(writer, value));
  for (const value of graph.outputs) message(writer, GRAPH.output, () => writeValue(writer, value));
}

function writeNode(writer: BinaryWriter, node: OnnxNode): void {
  for (const name of node.inputs) writer.tag(NODE.input, WireType.LengthDelimited).string(name);
  for (const name of node.outputs) writer.tag(NODE.output, WireType.LengthDelimited).string(name);
  text(writer, NODE.name, node.name);
  text(writer, NODE.opType, node.opType);
  for (const [name, attribute] of node.attributes) {
    message(writer, NODE.attribute, () => writeAttribute(writer, name, attribute));
  }
  text(writer, NODE.domain, node.domain);
}

function writeAttribute(writer: BinaryWriter, name: string, attribute: OnnxAttribute): void {
  text(writer, ATTRIBUTE.name, name);
  if (attribute.type === 'other') refuse(`attribute ${name} holds a tensor or a graph, which is not written`);
  const { type, value } = attribute;
  if (type === 'float') writer.tag(ATTRIBUTE.float, WireType.Bit32).float(value);
  else if (type === 'int') integer(writer, ATTRIBUTE.int, value);
  else if (type === 'string') writer.tag(ATTRIBUTE.string, WireType.LengthDelimited).string(value);
  else if (type === 'floats') for (const x of value) writer.tag(ATTRIBUTE.floats, WireType.Bit32).float(x);
  else for (const x of value) integer(writer, ATTRIBUTE.ints, x);
  integer(writer, ATTRIBUTE.type, ATTRIBUTE_TYPES[type]);
}

function writeTensor(writer: BinaryWriter, { name, dtype, shape, data }: OnnxInitializer): void {
  for (const size of shape) integer(writer, TENSOR.dims, size);
  integer(writer, TENSOR.dataType, dataType(name, dtype));
  text(writer, TENSOR.name, name);
  if (data instanceof Uint8Array) {
    writer.tag(TENSOR.rawData, WireType.LengthDelimited).bytes(data);
    return;
  }
  entry(writer, TENSOR.externalData, 'location', data.location);
  entry(writer, TENSOR.externalData, 'offset', String(data.offset));
  entry(writer, TENSOR.externalData, 'length', String(data.length));
  integer(writer, TENSOR.dataLocation, EXTERNAL);
}

function writeValue(writer: BinaryWriter, { name, dtype, shape }: OnnxValue): void {
  text(writer, VALUE.name, name);
  if (dtype === undefined) return;
  const dimension = (size: number | string) => {
    if (typeof size === 'number') integer(writer, DIMENSION.value, size);
    else text(writer, DIMENSION.parameter, size);
  };
  message(writer, VALUE.type, () =>
    message(writer, TYPE.tensor, () => {
      integer(writer, TENSOR_TYPE.elementType, dataType(name, dtype));
      if (shape === undefined) return;
      message(writer, TENSOR_TYPE.shape, () => {
        for (const size of shape) message(writer, SHAPE.dim, () => dimension(size));
      });
    }),
  );
}

function dataType(name: string, dtype: string): number {
  return onnxDataType(dtype) ?? refuse(`${name}: ONNX has no ${dtype}`);
}

function message(writer: BinaryWriter, field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}

function entry(writer: BinaryWriter, field: number, key: string, value: string): void {
  message(writer, field, () => {
    text(writer, ENTRY.key, key);
    text(writer, ENTRY.value, value);
  });
}

function integer(writer: BinaryWriter, field: number, value: number | bigint): void {
  writer.tag(field, WireType.Varint).int64(value);
}

/** Empty strings are left out, as protobuf's own writers do. */
function text(writer: BinaryWriter, field: number, value: string): void {
  if (value !== '') writer.tag(field, WireType.LengthDelimited).string(value);
}

function refuse(message: string): never {
  throw new HalftoneError('UNSUPPORTED', message, { where: 'onnx' });
}
