import type { ByteSink, Checkpoint, FormatCodec, TensorEntry } from '@halftone/tensor';
import { type FileLayout, type WriteDataOptions, writeAll } from '../tensor-writer.js';
import { openNpyTensor } from './internal/npy-tensor.js';
import { isNpy, npyLayout } from './npy-header.js';

/**
 * One numpy array (`np.save`, versions 1 to 3) as a checkpoint of one tensor, named after the file `NAME.npy`, else `data`.
 * Booleans, integers and floats of 2 to 8 bytes in either byte order; column-major arrays are transposed as they are read, where
 * every read reads the whole. Python objects and structured types are refused (`UNSUPPORTED`), as are bytes after the array.
 */
export const npy: FormatCodec = {
  name: 'npy',
  extensions: ['.npy'],
  sniff: isNpy,
  async open(source, options): Promise<Checkpoint> {
    const name = /([^/\\]+)\.npy$/.exec(source.name)?.[1] ?? 'data';
    const tensor = await openNpyTensor(source, name, options);
    return {
      format: 'npy',
      metadata: new Map(),
      tensors: new Map([[name, tensor]]),
      byteLength: source.size,
      async close() {
        await source.close?.();
      },
    };
  },
};

/** Writes one array, as `np.save` does, and commits the sink; on failure the sink is aborted. Throws as `npyLayout`. */
export async function writeNpy(sink: ByteSink, entry: TensorEntry, options: WriteDataOptions): Promise<FileLayout> {
  const layout = npyLayout(entry);
  await writeAll(sink, layout, 'npy', options);
  return layout;
}
