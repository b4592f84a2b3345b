import {
  type ByteSource,
  type Checkpoint,
  type FormatCodec,
  HalftoneError,
  type LazyTensor,
  type ReadOptions,
} from '@halftone/tensor';
import { lazyTensor } from './internal/lazy-tensor.js';
import { parseSafetensorsHeader, SAFETENSORS_MAX_HEADER_BYTES } from './safetensors-header.js';

const PREFIX_BYTES = 8;

/**
 * The safetensors container: u64 header length, JSON header, data.
 * `open` reads the header only; `checkpoint.close()` closes the source.
 */
export const safetensors: FormatCodec = {
  name: 'safetensors',
  extensions: ['.safetensors'],
  sniff(head) {
    if (head.length < PREFIX_BYTES + 1) return false;
    return headerLength(head) <= BigInt(SAFETENSORS_MAX_HEADER_BYTES) && head[PREFIX_BYTES] === 0x7b;
  },
  open,
};

function headerLength(head: Uint8Array): bigint {
  return new DataView(head.buffer, head.byteOffset, head.byteLength).getBigUint64(0, true);
}

async function open(source: ByteSource, options?: ReadOptions): Promise<Checkpoint> {
  const where = 'safetensors';
  if (source.size < PREFIX_BYTES + 2) {
    throw new HalftoneError('FORMAT', `${source.name}: ${source.size} bytes are too few for a safetensors file`, {
      where,
      details: { size: source.size },
    });
  }
  const length = headerLength(await source.read(0, PREFIX_BYTES, options));
  const limit = Math.min(SAFETENSORS_MAX_HEADER_BYTES, source.size - PREFIX_BYTES);
  if (length > BigInt(limit)) {
    throw new HalftoneError(
      'FORMAT',
      `${source.name}: the header length ${length} exceeds ${limit} bytes; the file is cut off or is not safetensors`,
      { where, details: { headerLength: length, limit, size: source.size } },
    );
  }
  const dataStart = PREFIX_BYTES + Number(length);
  const bytes = await source.read(PREFIX_BYTES, dataStart, options);
  const header = parseSafetensorsHeader(bytes, source.size - dataStart, source.name);
  const tensors = new Map<string, LazyTensor>();
  for (const { name, dtype, shape, begin, end } of header.tensors) {
    const stored = { source, where, name, dtype, shape, offset: dataStart + begin, byteLength: end - begin };
    tensors.set(name, lazyTensor(stored));
  }
  return {
    format: 'safetensors',
    metadata: header.metadata,
    tensors,
    byteLength: source.size,
    async close() {
      await source.close?.();
    },
  };
}
