import type { ByteSource, Checkpoint, FormatCodec, LazyTensor, MetadataValue, ReadOptions } from '@halftone/tensor';
import { readGgufHeader } from './gguf-header.js';
import type { GgufValue } from './gguf-types.js';
import { lazyTensor } from './internal/lazy-tensor.js';

/** A GGUF file, or its splits seen as one. */
export interface GgufCheckpoint extends Checkpoint {
  readonly format: 'gguf';
  /** Metadata with the types of the file, in file order: what a writer needs to reproduce it. */
  readonly ggufMetadata: ReadonlyMap<string, GgufValue>;
  readonly version: number;
  readonly alignment: number;
}

export interface GgufCodec extends FormatCodec {
  open(source: ByteSource, options?: ReadOptions): Promise<GgufCheckpoint>;
}

/** The GGUF container, versions 2 and 3, little-endian. `open` reads the header only. */
export const gguf: GgufCodec = {
  name: 'gguf',
  extensions: ['.gguf'],
  sniff(head) {
    return head.length >= 4 && head[0] === 0x47 && head[1] === 0x47 && head[2] === 0x55 && head[3] === 0x46;
  },
  async open(source, options) {
    const header = await readGgufHeader(source, options);
    const metadata = new Map<string, MetadataValue>();
    for (const [key, { value }] of header.metadata) metadata.set(key, value);
    const tensors = new Map<string, LazyTensor>();
    for (const { name, dtype, shape, offset, byteLength } of header.tensors) {
      const stored = { source, where: 'gguf', name, dtype, shape, offset: header.dataOffset + offset, byteLength };
      tensors.set(name, lazyTensor(stored));
    }
    return {
      format: 'gguf',
      metadata,
      ggufMetadata: header.metadata,
      version: header.version,
      alignment: header.alignment,
      tensors,
      byteLength: source.size,
      async close() {
        await source.close?.();
      },
    };
  },
};

/** Whether a checkpoint was opened by `gguf` and so carries `ggufMetadata`. */
export function isGgufCheckpoint(checkpoint: Checkpoint): checkpoint is GgufCheckpoint {
  return checkpoint.format === 'gguf' && (checkpoint as Partial<GgufCheckpoint>).ggufMetadata instanceof Map;
}
