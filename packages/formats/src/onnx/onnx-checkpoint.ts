import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import {
  type Awaitable,
  type ByteSource,
  type Checkpoint,
  type FormatCodec,
  HalftoneError,
  type LazyTensor,
  type MetadataValue,
  type ReadOptions,
} from '@halftone/tensor';
import { initializerTensor } from './internal/initializer-tensor.js';
import { messageReader } from './internal/message-reader.js';
import { MODEL } from './internal/onnx-proto.js';
import { readModel } from './internal/read-graph.js';
import { WHERE } from './internal/read-initializer.js';
import type { OnnxExternalData, OnnxModel } from './model.js';

export interface OnnxOptions {
  /**
   * Opens a file of external data, named relative to the model's folder (`model.onnx_data`). The name comes from the model: it
   * is checked to be a relative path without `..`. Called once for each file, when a tensor in it is first read.
   */
  readonly openFile?: (name: string) => Awaitable<ByteSource>;
}

/** An ONNX model: its initializers are the tensors. */
export interface OnnxCheckpoint extends Checkpoint {
  readonly format: 'onnx';
  readonly onnx: OnnxModel;
}

export interface OnnxCodec extends FormatCodec {
  open(source: ByteSource, options?: ReadOptions): Promise<OnnxCheckpoint>;
}

/**
 * ONNX models, with the files of their external data.
 *
 * `open` reads the graph and skips the weights, which may be larger than memory. Tensors are the initializers of the main graph;
 * those of graphs inside nodes and the values of Constant nodes are not listed. `metadata` has the keys of `metadata_props`, and
 * `onnx.ir_version`, `onnx.producer_name`, `onnx.producer_version`, `onnx.opset` (of ONNX itself) and `onnx.opset.<domain>`.
 *
 * Throws `FORMAT` for damaged files, duplicate names and unsafe paths, `UNSUPPORTED` for tensors of strings, complex numbers and
 * FNUZ floats. Reading a tensor of external data throws `IO` without `openFile`.
 */
export function onnxCodec(options: OnnxOptions = {}): OnnxCodec {
  return {
    name: 'onnx',
    extensions: ['.onnx'],
    sniff,
    open: (source, readOptions) => open(source, options, readOptions),
  };
}

/** ONNX models whose weights are inside the file; see `onnxCodec` for external data. */
export const onnx: OnnxCodec = onnxCodec();

/** Whether a checkpoint was opened by an ONNX codec and so carries its graph. */
export function isOnnxCheckpoint(checkpoint: Checkpoint): checkpoint is OnnxCheckpoint {
  return checkpoint.format === 'onnx' && (checkpoint as Partial<OnnxCheckpoint>).onnx !== undefined;
}

/** Wire types of the fields of a model, which begins with its IR version. */
const MODEL_FIELDS: ReadonlyMap<number, WireType> = new Map(
  Object.values(MODEL).map((number) => [
    number,
    number === MODEL.irVersion || number === MODEL.modelVersion ? WireType.Varint : WireType.LengthDelimited,
  ]),
);

function sniff(head: Uint8Array): boolean {
  if (head.length < 4 || head[0] !== 0x08 || head[1] === 0 || (head[1] as number) > 127) return false;
  const reader = new BinaryReader(head);
  while (reader.pos < head.length) {
    try {
      const [number, wireType] = reader.tag();
      if (MODEL_FIELDS.get(number) !== wireType) return false;
      if (wireType === WireType.Varint) reader.int64();
      else {
        const length = reader.uint32();
        reader.pos += length;
      }
    } catch {
      // True for a number that the head cuts off.
      return reader.pos > head.length;
    }
  }
  return true;
}

async function open(source: ByteSource, options: OnnxOptions, readOptions?: ReadOptions): Promise<OnnxCheckpoint> {
  const { model, initializers } = await readModel(messageReader(source, WHERE, readOptions), {
    start: 0,
    end: source.size,
  });
  const files = externalFiles(options, source.name);
  const tensors = new Map<string, LazyTensor>();
  let byteLength = source.size;
  for (const stored of initializers) {
    if (tensors.has(stored.name)) {
      throw new HalftoneError('FORMAT', `${stored.name}: two initializers have this name; the file is damaged`, {
        where: WHERE,
        details: { name: stored.name },
      });
    }
    tensors.set(stored.name, initializerTensor(source, stored, files.get));
    if (stored.place.type === 'external') byteLength += stored.place.data.length;
  }
  return {
    format: 'onnx',
    onnx: model,
    metadata: metadataOf(model),
    tensors,
    byteLength,
    async close() {
      await source.close?.();
      await files.close();
    },
  };
}

function metadataOf(model: OnnxModel): Map<string, MetadataValue> {
  const metadata = new Map<string, MetadataValue>(model.metadata);
  metadata.set('onnx.ir_version', model.irVersion);
  metadata.set('onnx.producer_name', model.producerName);
  metadata.set('onnx.producer_version', model.producerVersion);
  for (const [domain, version] of model.opsets)
    metadata.set(domain === '' ? 'onnx.opset' : `onnx.opset.${domain}`, version);
  return metadata;
}

function externalFiles({ openFile }: OnnxOptions, model: string) {
  const opened = new Map<string, Promise<ByteSource>>();
  const openOnce = async (location: string): Promise<ByteSource> => {
    if (openFile !== undefined) return openFile(location);
    throw new HalftoneError('IO', `${model}: weights are in ${location}; open with onnxCodec({ openFile })`, {
      where: WHERE,
      details: { location },
    });
  };
  return {
    async get({ location, offset, length }: OnnxExternalData, tensor: string): Promise<ByteSource> {
      const pending = opened.get(location) ?? openOnce(location);
      opened.set(location, pending);
      // A file that could not be opened may be there the next time.
      pending.catch(() => opened.delete(location));
      const source = await pending;
      if (offset + length <= source.size) return source;
      throw new HalftoneError(
        'FORMAT',
        `${tensor}: bytes ${offset} to ${offset + length} of ${location}, which has ${source.size}; the file is cut off`,
        { where: WHERE, details: { tensor, location, offset, length, size: source.size } },
      );
    },
    async close(): Promise<void> {
      const sources = await Promise.allSettled(opened.values());
      opened.clear();
      for (const result of sources) if (result.status === 'fulfilled') await result.value.close?.();
    },
  };
}
