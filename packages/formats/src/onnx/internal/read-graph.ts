import { WireType } from '@bufbuild/protobuf/wire';
import { HalftoneError } from '@halftone/tensor';
import { ONNX_DATA_TYPES } from '../data-types.js';
import type { OnnxAttribute, OnnxModel, OnnxNode, OnnxValue } from '../model.js';
import { type Field, type MessageReader, packedNumbers, type Range } from './message-reader.js';
import {
  ATTRIBUTE,
  ATTRIBUTE_TYPES,
  DIMENSION,
  GRAPH,
  MODEL,
  NODE,
  OPERATOR_SET,
  SHAPE,
  TENSOR_TYPE,
  TYPE,
  VALUE,
} from './onnx-proto.js';
import { readEntry, readInitializer, type StoredInitializer, WHERE } from './read-initializer.js';

const LONGEST_TEXT = 16 * 1024 * 1024;
const LONGEST_NAME = 64 * 1024;
const LONGEST_LIST = 1024 * 1024;
/** Nodes, attributes, tensors and values together. Far above real models; keeps what hostile bytes can grow to below 100 MB. */
const MOST_PARTS = 2 ** 19;

type Counter = () => void;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface ReadModel {
  readonly model: OnnxModel;
  readonly initializers: readonly StoredInitializer[];
}

/** Reads a whole model but the elements of its tensors. Graphs inside nodes are skipped. */
export async function readModel(reader: MessageReader, message: Range): Promise<ReadModel> {
  const opsets = new Map<string, number>();
  const metadata = new Map<string, string>();
  const graph = { name: '', nodes: [] as OnnxNode[], inputs: [] as OnnxValue[], outputs: [] as OnnxValue[] };
  const initializers: StoredInitializer[] = [];
  let graphs = 0;
  let parts = 0;
  const count = () => {
    if (++parts > MOST_PARTS) fail(`the graph has more than ${MOST_PARTS} parts`);
  };
  const model: Mutable<OnnxModel> = {
    irVersion: 0,
    producerName: '',
    producerVersion: '',
    domain: '',
    modelVersion: 0,
    docString: '',
    opsets,
    metadata,
    graph,
  };
  const text = (field: Field) => reader.text(field, LONGEST_TEXT, 'a text of the model');
  await reader.fields(message, async (field) => {
    if (field.number === MODEL.irVersion) model.irVersion = Number(field.value);
    else if (field.number === MODEL.producerName) model.producerName = await text(field);
    else if (field.number === MODEL.producerVersion) model.producerVersion = await text(field);
    else if (field.number === MODEL.domain) model.domain = await text(field);
    else if (field.number === MODEL.modelVersion) model.modelVersion = Number(field.value);
    else if (field.number === MODEL.docString) model.docString = await text(field);
    else if (field.number === MODEL.metadataProps) await readEntry(reader, field, metadata);
    else if (field.number === MODEL.opsetImport) await readOpset(reader, field, opsets);
    else if (field.number === MODEL.graph) {
      graphs++;
      if (graphs > 1) fail('the model has two graphs');
      await readGraph(reader, field, graph, initializers, count);
    }
  });
  if (model.irVersion < 1 || graphs === 0) fail('there is no IR version or no graph; the file is not an ONNX model');
  return { model, initializers };
}

async function readOpset(reader: MessageReader, message: Range, into: Map<string, number>): Promise<void> {
  let domain = '';
  let version = 0;
  await reader.fields(message, async (field) => {
    if (field.number === OPERATOR_SET.domain) domain = await reader.text(field, LONGEST_NAME, 'a domain');
    if (field.number === OPERATOR_SET.version) version = Number(field.value);
  });
  into.set(domain, version);
}

async function readGraph(
  reader: MessageReader,
  message: Range,
  graph: { name: string; nodes: OnnxNode[]; inputs: OnnxValue[]; outputs: OnnxValue[] },
  initializers: StoredInitializer[],
  count: Counter,
): Promise<void> {
  await reader.fields(message, async (field) => {
    count();
    if (field.number === GRAPH.name) graph.name = await reader.text(field, LONGEST_NAME, 'the name of the graph');
    else if (field.number === GRAPH.node) graph.nodes.push(await readNode(reader, field, count));
    else if (field.number === GRAPH.initializer) initializers.push(await readInitializer(reader, field));
    else if (field.number === GRAPH.input) graph.inputs.push(await readValue(reader, field));
    else if (field.number === GRAPH.output) graph.outputs.push(await readValue(reader, field));
  });
}

async function readNode(reader: MessageReader, message: Range, count: Counter): Promise<OnnxNode> {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, OnnxAttribute>();
  const node: Mutable<OnnxNode> = { name: '', opType: '', domain: '', inputs, outputs, attributes };
  const text = (field: Field) => reader.text(field, LONGEST_NAME, 'a name in a node');
  await reader.fields(message, async (field) => {
    if (field.number === NODE.input) inputs.push(await text(field));
    else if (field.number === NODE.output) outputs.push(await text(field));
    else if (field.number === NODE.name) node.name = await text(field);
    else if (field.number === NODE.opType) node.opType = await text(field);
    else if (field.number === NODE.domain) node.domain = await text(field);
    else if (field.number === NODE.attribute) {
      count();
      await readAttribute(reader, field, attributes);
    }
  });
  if (node.opType === '') fail(`a node at offset ${message.start} names no operator`);
  return node;
}

async function readAttribute(reader: MessageReader, message: Range, into: Map<string, OnnxAttribute>): Promise<void> {
  let name = '';
  let type = 0;
  let float = 0;
  let int: number | bigint = 0;
  let string = '';
  const floats: number[] = [];
  const ints: (number | bigint)[] = [];
  await reader.fields(message, async (field) => {
    if (field.number === ATTRIBUTE.name) name = await reader.text(field, LONGEST_NAME, 'the name of an attribute');
    else if (field.number === ATTRIBUTE.type) type = Number(field.value);
    else if (field.number === ATTRIBUTE.int) int = plain(field.value);
    // What is not UTF-8 stays unread: attributes may hold any bytes.
    else if (field.number === ATTRIBUTE.string) string = decodeText(await reader.bytes(field, LONGEST_TEXT, name));
    else if (field.number === ATTRIBUTE.float || field.number === ATTRIBUTE.floats) {
      for (const value of await floatsOf(reader, field)) floats.push(value);
      float = floats[floats.length - 1] ?? 0;
    } else if (field.number === ATTRIBUTE.ints) {
      for (const value of await intsOf(reader, field)) ints.push(value);
    }
  });
  if (into.has(name)) fail(`attribute ${JSON.stringify(name)} appears twice in a node`);
  if (type === ATTRIBUTE_TYPES.float) into.set(name, { type: 'float', value: float });
  else if (type === ATTRIBUTE_TYPES.int) into.set(name, { type: 'int', value: int });
  else if (type === ATTRIBUTE_TYPES.string) into.set(name, { type: 'string', value: string });
  else if (type === ATTRIBUTE_TYPES.floats) into.set(name, { type: 'floats', value: floats });
  else if (type === ATTRIBUTE_TYPES.ints) into.set(name, { type: 'ints', value: ints });
  else into.set(name, { type: 'other' });
}

function decodeText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

async function floatsOf(reader: MessageReader, field: Field): Promise<number[]> {
  const bytes = await reader.bytes(field, LONGEST_LIST, 'numbers of an attribute');
  return [...packedNumbers(bytes, (numbers) => numbers.float())];
}

async function intsOf(reader: MessageReader, field: Field): Promise<(number | bigint)[]> {
  if (field.wireType === WireType.Varint) return [plain(field.value)];
  const bytes = await reader.bytes(field, LONGEST_LIST, 'numbers of an attribute');
  return [...packedNumbers(bytes, (numbers) => plain(BigInt(numbers.int64())))];
}

function plain(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

async function readValue(reader: MessageReader, message: Range): Promise<OnnxValue> {
  const value: Mutable<OnnxValue> = { name: '' };
  await reader.fields(message, async (field) => {
    if (field.number === VALUE.name) value.name = await reader.text(field, LONGEST_NAME, 'the name of a value');
    if (field.number === VALUE.type) {
      await reader.fields(field, async (type) => {
        if (type.number === TYPE.tensor) await readTensorType(reader, type, value);
      });
    }
  });
  return value;
}

async function readTensorType(reader: MessageReader, message: Range, value: Mutable<OnnxValue>): Promise<void> {
  await reader.fields(message, async (field) => {
    if (field.number === TENSOR_TYPE.elementType) value.dtype = ONNX_DATA_TYPES[Number(field.value)];
    if (field.number !== TENSOR_TYPE.shape) return;
    const shape: (number | string)[] = [];
    value.shape = shape;
    await reader.fields(field, async (dimension) => {
      if (dimension.number === SHAPE.dim) shape.push(await readDimension(reader, dimension));
    });
  });
}

async function readDimension(reader: MessageReader, message: Range): Promise<number | string> {
  let size: number | string = '';
  await reader.fields(message, async (field) => {
    if (field.number === DIMENSION.value) size = Number(field.value);
    if (field.number === DIMENSION.parameter) size = await reader.text(field, LONGEST_NAME, 'the name of a dimension');
  });
  return size;
}

function fail(message: string): never {
  throw new HalftoneError('FORMAT', message, { where: WHERE });
}
