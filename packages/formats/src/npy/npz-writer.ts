import { type ByteSink, HalftoneError, type TensorEntry, throwIfAborted } from '@halftone/tensor';
import type { FileLayout, WriteDataOptions } from '../tensor-writer.js';
import { loadZip, NPZ } from './internal/zip-members.js';
import { npyLayout } from './npy-header.js';

/** Writing time is no part of the file, as in numpy's archives. */
const FIRST_ZIP_DAY = [1980, 0, 1] as const;

/**
 * Writes arrays as an uncompressed archive that `np.load` opens, and commits the sink; on failure the sink is aborted. Zip64 where
 * sizes need it. `options.data` is called for one tensor after the other. Needs `@zip.js/zip.js`.
 *
 * Throws `UNSUPPORTED` for types that numpy does not have, `FORMAT` for two tensors of one name, `RANGE` for data of another size.
 */
export async function writeNpz(
  sink: ByteSink,
  entries: readonly TensorEntry[],
  options: WriteDataOptions,
): Promise<void> {
  try {
    const layouts = entries.map(npyLayout);
    if (new Set(entries.map(({ name }) => name)).size < entries.length) {
      throw new HalftoneError('FORMAT', 'two tensors have one name; rename one', { where: NPZ });
    }
    const { ZipWriter } = await loadZip();
    const zip = new ZipWriter(new WritableStream<Uint8Array>({ write: (bytes) => sink.write(bytes) }), {
      level: 0,
      useWebWorkers: false,
      extendedTimestamp: false,
      lastModDate: new Date(...FIRST_ZIP_DAY),
    });
    for (const [done, layout] of layouts.entries()) {
      throwIfAborted(options.signal, NPZ);
      options.onProgress?.({ stage: 'write', done, total: layouts.length });
      const name = `${layout.tensors[0]?.name}.npy`;
      await zip.add(name, { readable: readable(pieces(layout, options)), size: layout.byteLength } as never);
    }
    await zip.close();
    options.onProgress?.({ stage: 'write', done: layouts.length, total: layouts.length });
    await sink.commit();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

function readable(pieces: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}

/** The array file, piece by piece. */
async function* pieces(
  { header, tensors, byteLength }: FileLayout,
  options: WriteDataOptions,
): AsyncGenerator<Uint8Array> {
  const placement = tensors[0] as FileLayout['tensors'][number];
  yield header;
  let written = header.length;
  const data = await options.data(placement);
  for await (const piece of data instanceof Uint8Array ? [data] : data) {
    written += piece.length;
    yield piece;
  }
  if (written !== byteLength) {
    throw new HalftoneError(
      'RANGE',
      `${placement.name}: ${written - header.length} bytes given, it has ${placement.byteLength}`,
      {
        where: NPZ,
        details: { name: placement.name },
      },
    );
  }
}
