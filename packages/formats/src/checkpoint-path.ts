import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type ByteSource, type Checkpoint, type FormatCodec, HalftoneError, type ReadOptions } from '@halftone/tensor';
import { fileSource } from './file-source.js';
import { type GgufCheckpoint, gguf } from './gguf.js';
import { ggufSplitNames, isGgufSplit, joinGgufSplits } from './gguf-splits.js';
import { ioError } from './internal/node-io.js';
import { llama2c } from './llama2c.js';
import { openCheckpoint } from './open-checkpoint.js';
import { safetensors } from './safetensors.js';
import { openSafetensorsShards, parseSafetensorsIndex, SAFETENSORS_INDEX_NAME } from './safetensors-shards.js';

const WHERE = 'openCheckpointPath';
/** An index of a model with 100,000 tensors takes about 10 MB. */
const MAX_INDEX_BYTES = 100_000_000;

export interface OpenCheckpointPathOptions extends ReadOptions {
  /** Default: safetensors, GGUF, llama2.c. */
  readonly codecs?: readonly FormatCodec[];
}

/**
 * Opens a model on disk: a weight file, the first of several GGUF splits, `model.safetensors.index.json`, or a folder in
 * the Hugging Face layout (`model.safetensors`, else the index, else the only safetensors or GGUF model in it).
 *
 * Throws `IO` when something is missing and what the codecs throw. No file stays open after a failure.
 */
export async function openCheckpointPath(path: string, options: OpenCheckpointPathOptions = {}): Promise<Checkpoint> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (cause) {
    throw ioError(WHERE, path, 'open the model', cause);
  }
  const file = isFolder ? join(path, await chooseFile(path)) : path;
  if (file.endsWith('.safetensors.index.json')) return openIndex(file, options);
  const splits = file.endsWith('.gguf') ? ggufSplitNames(basename(file)) : undefined;
  if (splits !== undefined && splits.length > 1) return openSplits(dirname(file), splits, options);
  const checkpoint = await openFile(file, options);
  if (isGgufSplit(checkpoint)) {
    await checkpoint.close();
    throw new HalftoneError(
      'UNSUPPORTED',
      `${file}: is one part of a split model; keep the names -00001-of-0000N.gguf and open the first`,
      {
        where: WHERE,
        details: { path: file },
      },
    );
  }
  return checkpoint;
}

async function openFile(path: string, options: OpenCheckpointPathOptions): Promise<Checkpoint> {
  const source = await fileSource(path);
  return closingOnFailure(source, () => openCheckpoint(source, { codecs: [safetensors, gguf, llama2c], ...options }));
}

async function openIndex(path: string, options: ReadOptions): Promise<Checkpoint> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_INDEX_BYTES) {
      throw new HalftoneError('FORMAT', `${path}: ${size} bytes, an index has at most ${MAX_INDEX_BYTES}`, {
        where: WHERE,
        details: { size },
      });
    }
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw cause instanceof HalftoneError ? cause : ioError(WHERE, path, 'read the index', cause);
  }
  const folder = dirname(path);
  return openSafetensorsShards(parseSafetensorsIndex(text, path), {
    ...options,
    openFile: (fileName) => fileSource(join(folder, fileName)),
  });
}

async function openSplits(folder: string, names: readonly string[], options: ReadOptions): Promise<Checkpoint> {
  const parts: GgufCheckpoint[] = [];
  try {
    for (const name of names) {
      const source = await fileSource(join(folder, name));
      parts.push(await closingOnFailure(source, () => gguf.open(source, options)));
    }
    return joinGgufSplits(parts);
  } catch (error) {
    for (const part of parts) await part.close();
    throw error;
  }
}

async function closingOnFailure<T>(source: ByteSource, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await source.close?.();
    throw error;
  }
}

async function chooseFile(folder: string): Promise<string> {
  let names: string[];
  try {
    names = (await readdir(folder)).sort();
  } catch (cause) {
    throw ioError(WHERE, folder, 'list the folder', cause);
  }
  for (const name of ['model.safetensors', SAFETENSORS_INDEX_NAME]) if (names.includes(name)) return name;
  const firstParts = names.filter(
    (name) => !/-\d{5}-of-\d{5}\.gguf$/.test(name) || /-00001-of-\d{5}\.gguf$/.test(name),
  );
  for (const extension of ['.safetensors', '.gguf', '.bin']) {
    // llama2.c keeps its tokenizer (tokenizer.bin, tok512.bin) beside the model.
    const candidates = firstParts.filter((name) => name.endsWith(extension) && !/^tok.*\.bin$/.test(name));
    if (candidates.length === 1) return candidates[0] as string;
    if (candidates.length > 1) {
      throw new HalftoneError(
        'IO',
        `${folder}: has several models (${candidates.slice(0, 5).join(', ')}); give the path of one`,
        {
          where: WHERE,
          details: { path: folder, candidates },
        },
      );
    }
  }
  throw new HalftoneError(
    'IO',
    `${folder}: holds no model.safetensors, ${SAFETENSORS_INDEX_NAME} or .gguf; check the path`,
    {
      where: WHERE,
      details: { path: folder },
    },
  );
}
