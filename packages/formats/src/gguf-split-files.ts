import { join } from 'node:path';
import { type Checkpoint, HalftoneError, type LazyTensor, type TensorEntry, type WorkOptions } from '@halftone/tensor';
import { openCheckpointPath } from './checkpoint-path.js';
import { fileSink } from './file-sink.js';
import { type GgufCheckpoint, gguf, isGgufCheckpoint } from './gguf.js';
import { writeGgufSplits } from './gguf-splits.js';
import { ggufLayout } from './gguf-writer.js';
import { streamRows } from './stream-rows.js';
import { type TensorDataProvider, writeAll } from './tensor-writer.js';

/**
 * Joins the splits of a model, given the first of them (`model-00001-of-00003.gguf`) or their folder, to one file. Tensors are
 * copied as they are. The file appears when it is whole; the splits stay.
 *
 * Throws `UNSUPPORTED` for a model that is not GGUF, `FORMAT` for missing or foreign parts, `IO` when the disk has no room.
 */
export async function mergeGgufSplits(path: string, out: string, options: WorkOptions = {}): Promise<void> {
  await withModel(path, async (model) => {
    const layout = ggufLayout(metadataOf(model), entriesOf(model), { alignment: model.alignment });
    const sink = await fileSink(out, { expectedBytes: layout.byteLength });
    await writeAll(sink, layout, 'gguf', { ...options, data: copiedFrom(model, options) });
  });
}

export interface SplitGgufFileOptions extends WorkOptions {
  /** Where the parts go. The folder must be there. */
  readonly folder: string;
  /** Data bytes that a part holds at most; a larger tensor gets a part of its own. */
  readonly maxSplitBytes: number;
  /** Default `model`. */
  readonly baseName?: string;
}

/**
 * Splits a GGUF model as llama.cpp's gguf-split does, and gives the names of the parts. Tensors are copied as they are; no part
 * appears before all are written. Throws as `mergeGgufSplits` does.
 */
export async function splitGgufFile(path: string, options: SplitGgufFileOptions): Promise<string[]> {
  const { folder, maxSplitBytes, baseName } = options;
  return withModel(path, async (model) => {
    const plans = await writeGgufSplits(entriesOf(model), {
      ...options,
      baseName,
      maxSplitBytes,
      alignment: model.alignment,
      metadata: metadataOf(model),
      data: copiedFrom(model, options),
      createSink: (fileName, _bytes, expectedBytes) => fileSink(join(folder, fileName), { expectedBytes }),
    });
    return plans.map(({ fileName }) => fileName);
  });
}

async function withModel<T>(path: string, work: (model: GgufCheckpoint) => Promise<T>): Promise<T> {
  const model: Checkpoint = await openCheckpointPath(path, { codecs: [gguf] });
  try {
    if (!isGgufCheckpoint(model)) {
      throw new HalftoneError('UNSUPPORTED', `${path}: is ${model.format}, not GGUF; give a GGUF model`, {
        where: 'gguf',
      });
    }
    return await work(model);
  } finally {
    await model.close();
  }
}

function metadataOf(model: GgufCheckpoint) {
  return [...model.ggufMetadata].map(([key, value]) => ({ key, ...value }));
}

function entriesOf(model: GgufCheckpoint): TensorEntry[] {
  return [...model.tensors.values()].map(({ name, dtype, shape }) => ({ name, dtype, shape }));
}

function copiedFrom(model: GgufCheckpoint, { signal }: WorkOptions): TensorDataProvider {
  return async function* copied({ name }) {
    for await (const { bytes } of streamRows(model.tensors.get(name) as LazyTensor, { signal })) yield bytes;
  };
}
