import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { openCheckpointPath } from '@halftone/formats/node';
import { type Checkpoint, HalftoneError, isHalftoneError } from '@halftone/tensor';
import { isObject } from './internal/config-fields.js';
import {
  ggufModelSource,
  huggingFaceModelSource,
  type LayoutOptions,
  llama2cModelSource,
  MAX_TOKENIZER_BYTES,
  type ModelFolder,
} from './model-files.js';
import type { ModelSource } from './model-source.js';

const WHERE = 'openModel';

/**
 * Opens a model on disk: a folder in the Hugging Face layout, a .safetensors file (or index) with config.json beside it, a
 * .gguf file, or a llama2.c .bin file with a `tok*.bin` beside it. Reads the config, the headers and the tokenizer, no weights.
 *
 * The tokenizer is left out where there is none. End tokens are those of generation_config.json, else of config.json.
 * Throws `IO` for files that cannot be read, `FORMAT` and `UNSUPPORTED` as the readers and `modelSource` do. No file stays
 * open after a failure; call `close` on the result.
 */
export async function openModel(path: string, options: LayoutOptions = {}): Promise<ModelSource> {
  const checkpoint = await openCheckpointPath(path, options);
  try {
    return await sourceOf(path, checkpoint, options);
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

async function sourceOf(path: string, checkpoint: Checkpoint, options: LayoutOptions): Promise<ModelSource> {
  switch (checkpoint.format) {
    case 'gguf':
      return ggufModelSource(checkpoint);
    case 'llama2c':
      return llama2cModelSource(checkpoint, tokenizersBeside(path));
    default:
      return huggingFaceModelSource(checkpoint, await folderOf(path), options);
  }
}

/** A folder may hold the tokenizers of several vocabulary sizes. */
async function* tokenizersBeside(path: string): AsyncGenerator<Uint8Array> {
  const folder = dirname(path);
  const names = (await readdir(folder)).filter((name) => /^tok.*\.bin$/.test(name)).sort();
  for (const name of names) yield await readBytes(join(folder, name), MAX_TOKENIZER_BYTES);
}

async function folderOf(path: string): Promise<ModelFolder> {
  const folder = (await stat(path)).isDirectory() ? path : dirname(path);
  return {
    name: folder.endsWith(sep) ? folder : folder + sep,
    read: (fileName, maxBytes) => readOptional(join(folder, fileName), maxBytes),
  };
}

/** The file's bytes, undefined when there is no such file. */
async function readOptional(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  try {
    return await readBytes(path, maxBytes);
  } catch (error) {
    if (isHalftoneError(error) && isMissing(error.cause)) return undefined;
    throw error;
  }
}

function isMissing(cause: unknown): boolean {
  return isObject(cause) && cause.code === 'ENOENT';
}

async function readBytes(path: string, maxBytes: number): Promise<Uint8Array> {
  let size: number;
  try {
    ({ size } = await stat(path));
    if (size <= maxBytes) return await readFile(path);
  } catch (cause) {
    throw new HalftoneError('IO', `cannot read ${path}`, { where: WHERE, details: { path }, cause });
  }
  throw new HalftoneError('FORMAT', `${path} has ${size} bytes, at most ${maxBytes} are read`, {
    where: WHERE,
    details: { path, size },
  });
}
