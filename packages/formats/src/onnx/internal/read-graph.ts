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
const LONGEST_NODE = 1024 * 1024;
/**
 * Nodes, their inputs and attributes, tensors and values together. Far above real models; keeps what hostile bytes can
 * grow to below 100 MB.
 */
const MOST_PARTS = 2 ** 19;

type Counter = () => void;

const NODE_FIELDS: ReadonlySet<number> = new Set(Object.values(NODE));

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
  reader.parse(await reader.bytes(message, LONGEST_NAME, 'an operator set'), ({ number, value, bytes }) => {
    if (number === OPERATOR_SET.domain) domain = reader.decodeText(bytes, 'a domain');
    if (number === OPERATOR_SET.version) version = Number(value);
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

/** Attributes that hold more than `LONGEST_NODE` bytes (tensors, graphs) are skipped. */
async function readNode(reader: MessageReader, message: Range, count: Counter): Promise<OnnxNode> {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, OnnxAttribute>();
  const node: Mutable<OnnxNode> = { name: '', opType: '', domain: '', inputs, outputs, attributes };
  const visit = ({ number, bytes }: { readonly number: number; readonly bytes: Uint8Array }) => {
    count();
    if (number === NODE.attribute) return readAttribute(reader, bytes, attributes);
    const text = reader.decodeText(bytes, 'a name in a node');
    if (number === NODE.input) inputs.push(text);
    else if (number === NODE.output) outputs.push(text);
    else if (number === NODE.name) node.name = text;
    else if (number === NODE.opType) node.opType = text;
    else if (number === NODE.domain) node.domain = text;
  };
  if (message.end - message.start <= LONGEST_NODE) {
    reader.parse(await reader.bytes(message, LONGEST_NODE, 'a node'), (field) => {
      if (NODE_FIELDS.has(field.number)) visit(field);
    });
  } else {
    await reader.fields(message, async (field) => {
      if (!NODE_FIELDS.has(field.number) || field.end - field.start > LONGEST_NODE) return;
      visit({ number: field.number, bytes: await reader.bytes(field, LONGEST_NODE, 'a part of a node') });
    });
  }
  if (node.opType === '') fail(`a node at offset ${message.start} names no operator`);
  return node;
}

function readAttribute(reader: MessageReader, message: Uint8Array, into: Map<string, OnnxAttribute>): void {
  let name = '';
  let type = 0;
  let int: number | bigint = 0;
  let string: Uint8Array = new Uint8Array(0);
  const floats: number[] = [];
  const ints: (number | bigint)[] = [];
  reader.parse(message, ({ number, wireType, value, bytes }) => {
    if (number === ATTRIBUTE.name) name = reader.decodeText(bytes, 'the name of an attribute');
    else if (number === ATTRIBUTE.type) type = Number(value);
    else if (number === ATTRIBUTE.int) int = plain(value);
    else if (number === ATTRIBUTE.string) string = bytes;
    else if (number === ATTRIBUTE.float || number === ATTRIBUTE.floats) {
      for (const element of packedNumbers(bytes, (numbers) => numbers.float())) floats.push(element);
    } else if (number === ATTRIBUTE.ints) {
      if (wireType === WireType.Varint) ints.push(plain(value));
      else for (const element of packedNumbers(bytes, (numbers) => BigInt(numbers.int64()))) ints.push(plain(element));
    }
  });
  if (into.has(name)) fail(`attribute ${JSON.stringify(name)} appears twice in a node`);
  into.set(name, attribute());

  function attribute(): OnnxAttribute {
    switch (type) {
      case ATTRIBUTE_TYPES.float:
        return { type: 'float', value: floats[0] ?? 0 };
      case ATTRIBUTE_TYPES.int:
        return { type: 'int', value: int };
      case ATTRIBUTE_TYPES.string:
        // Attributes may hold any bytes: what is not UTF-8 is replaced, not refused.
        return { type: 'string', value: new TextDecoder().decode(string) };
      case ATTRIBUTE_TYPES.floats:
        return { type: 'floats', value: floats };
      case ATTRIBUTE_TYPES.ints:
        return { type: 'ints', value: ints };
      default:
        return { type: 'other' };
    }
  }
}

function plain(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

async function readValue(reader: MessageReader, message: Range): Promise<OnnxValue> {
  const value: Mutable<OnnxValue> = { name: '' };
  reader.parse(await reader.bytes(message, LONGEST_NODE, 'an input or output'), (field) => {
    if (field.number === VALUE.name) value.name = reader.decodeText(field.bytes, 'the name of a value');
    if (field.number !== VALUE.type) return;
    reader.parse(field.bytes, (type) => {
      if (type.number === TYPE.tensor) readTensorType(reader, type.bytes, value);
    });
  });
  return value;
}

function readTensorType(reader: MessageReader, message: Uint8Array, into: Mutable<OnnxValue>): void {
  reader.parse(message, ({ number, value, bytes }) => {
    if (number === TENSOR_TYPE.elementType) into.dtype = ONNX_DATA_TYPES[Number(value)];
    if (number !== TENSOR_TYPE.shape) return;
    const shape: (number | string)[] = [];
    into.shape = shape;
    reader.parse(bytes, (dimension) => {
      if (dimension.number === SHAPE.dim) shape.push(readDimension(reader, dimension.bytes));
    });
  });
}

function readDimension(reader: MessageReader, message: Uint8Array): number | string {
  let size: number | string = '';
  reader.parse(message, ({ number, value, bytes }) => {
    if (number === DIMENSION.value) size = Number(value);
    if (number === DIMENSION.parameter) size = reader.decodeText(bytes, 'the name of a dimension');
  });
  return size;
}

function fail(message: string): never {
  throw new HalftoneError('FORMAT', message, { where: WHERE });
}
