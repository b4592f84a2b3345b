import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ggufAsHuggingFace, llama2cConfig, tokenizerFromLlama2c } from '@halftone/formats';
import { openCheckpointPath } from '@halftone/formats/node';
import { type Checkpoint, HalftoneError, isHalftoneError, type ReadOptions } from '@halftone/tensor';
import { isObject, type JsonObject } from './internal/config-fields.js';
import { type ModelSource, modelSource, type TokenizerFiles } from './model-source.js';

const WHERE = 'openModel';
const MAX_CONFIG_BYTES = 10_000_000;
/** The largest vocabularies in use take about 35 MB. */
const MAX_TOKENIZER_BYTES = 200_000_000;

/**
 * Opens a model on disk: a folder in the Hugging Face layout, a .safetensors file (or index) with config.json beside it, a
 * .gguf file, or a llama2.c .bin file with a `tok*.bin` beside it. Reads the config, the headers and the tokenizer, no weights.
 *
 * The tokenizer is left out where there is none. Throws `IO` for files that cannot be read, `FORMAT` and `UNSUPPORTED` as the
 * readers and `modelSource` do. No file stays open after a failure; call `close` on the result.
 */
export async function openModel(path: string, options: ReadOptions = {}): Promise<ModelSource> {
  const checkpoint = await openCheckpointPath(path, options);
  try {
    switch (checkpoint.format) {
      case 'gguf':
        return await fromGguf(checkpoint);
      case 'llama2c':
        return await fromLlama2c(path, checkpoint);
      default:
        return await fromFolder(await folderOf(path), checkpoint);
    }
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

async function fromGguf(original: Checkpoint): Promise<ModelSource> {
  const { configJson, checkpoint, tokenizerJson, tokenizerConfig, chatTemplate, conv1dTransposed } =
    await ggufAsHuggingFace(original);
  const tokenizer = tokenizerJson === undefined ? undefined : { tokenizerJson, tokenizerConfig, chatTemplate };
  return modelSource({ configJson, checkpoint, tokenizer, conv1dTransposed });
}

async function fromLlama2c(path: string, checkpoint: Checkpoint): Promise<ModelSource> {
  const configJson = llama2cConfig(checkpoint);
  const folder = dirname(path);
  const names = (await readdir(folder)).filter((name) => /^tok.*\.bin$/.test(name)).sort();
  let failure: unknown;
  for (const name of names) {
    // A folder may hold the tokenizers of several vocabulary sizes.
    try {
      const tokenizer = tokenizerFromLlama2c(
        await readBytes(join(folder, name), MAX_TOKENIZER_BYTES),
        Number(configJson.vocab_size),
      );
      return modelSource({ configJson, checkpoint, tokenizer });
    } catch (error) {
      if (!isHalftoneError(error) || error.where !== 'tokenizer') throw error;
      failure = error;
    }
  }
  if (failure !== undefined) throw failure;
  return modelSource({ configJson, checkpoint });
}

async function fromFolder(folder: string, checkpoint: Checkpoint): Promise<ModelSource> {
  const configJson = await readJson(join(folder, 'config.json'), MAX_CONFIG_BYTES);
  if (configJson === undefined) {
    throw new HalftoneError('IO', `${folder} has no config.json, without which safetensors weights are not a model`, {
      where: WHERE,
      details: { folder },
    });
  }
  return modelSource({ configJson, checkpoint, tokenizer: await readTokenizer(folder) });
}

async function readTokenizer(folder: string): Promise<TokenizerFiles | undefined> {
  const tokenizerJson = await readJson(join(folder, 'tokenizer.json'), MAX_TOKENIZER_BYTES);
  if (tokenizerJson === undefined) return undefined;
  const tokenizerConfig = await readJson(join(folder, 'tokenizer_config.json'), MAX_TOKENIZER_BYTES);
  const template = await readOptional(join(folder, 'chat_template.jinja'), MAX_CONFIG_BYTES);
  return { tokenizerJson, tokenizerConfig, chatTemplate: template && new TextDecoder().decode(template) };
}

async function folderOf(path: string): Promise<string> {
  return (await stat(path)).isDirectory() ? path : dirname(path);
}

async function readJson(path: string, maxBytes: number): Promise<JsonObject | undefined> {
  const bytes = await readOptional(path, maxBytes);
  if (bytes === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new HalftoneError('FORMAT', `${path} is not JSON`, { where: WHERE, details: { path }, cause });
  }
  if (!isObject(value))
    throw new HalftoneError('FORMAT', `${path} does not hold a JSON object`, { where: WHERE, details: { path } });
  return value;
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
