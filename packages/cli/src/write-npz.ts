import { resolve } from 'node:path';
import { decodeGgml, streamRows } from '@halftone/formats';
import { fileSink } from '@halftone/formats/node';
import { writeNpz } from '@halftone/formats/npy';
import { encode, type LazyTensor, type TensorEntry, type WorkOptions } from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';

/** Writes every tensor of a model, decoded to one float type, as an array of a NumPy archive. Gives the bytes of the file. */
export async function writeNpzModel(
  source: ModelSource,
  out: string,
  dtype: 'f32' | 'f16',
  work: WorkOptions,
): Promise<number> {
  const { tensors } = source.checkpoint;
  const entries: TensorEntry[] = Array.from(tensors.values(), ({ name, shape }) => ({ name, dtype, shape }));
  const sink = await fileSink(resolve(out));
  await writeNpz(sink, entries, {
    ...work,
    data: ({ name }) => floatRows(tensors.get(name) as LazyTensor, dtype, work.signal),
  });
  return sink.position;
}

async function* floatRows(tensor: LazyTensor, dtype: 'f32' | 'f16', signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const rows of streamRows(tensor, { signal })) yield encode(decodeGgml(rows), dtype, rows.shape).bytes;
}
