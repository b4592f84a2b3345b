import { ggufAsHuggingFace, llama2cConfig, tokenizerFromLlama2c, withLayouts } from '@halftone/formats';
import { type Checkpoint, HalftoneError, isHalftoneError, type ReadOptions, type WeightLayout } from '@halftone/tensor';
import { isObject, type JsonObject } from './internal/config-fields.js';
import { type ModelSource, modelSource, type TokenizerFiles } from './model-source.js';

const WHERE = 'openModel';
const MAX_CONFIG_BYTES = 10_000_000;
/** The largest vocabularies in use take about 35 MB. */
export const MAX_TOKENIZER_BYTES = 200_000_000;

/** How quantized weights of safetensors checkpoints are read. */
export interface LayoutOptions extends ReadOptions {
  /** Layouts of quantized weights that are recognised, from `@halftone/formats/layouts`. Default: none. */
  readonly layouts?: readonly WeightLayout[];
}

/** The small files beside safetensors weights, wherever they are. */
export interface ModelFolder {
  /** Path or URL for messages, up to and with the last separator. */
  readonly name: string;
  /** A file's bytes, undefined when there is no such file. Rejects with `FORMAT` when it is larger than `maxBytes`. */
  read(fileName: string, maxBytes: number): Promise<Uint8Array | undefined>;
}

/**
 * The model in an opened GGUF file. Reads no weights; the checkpoint stays the caller's when this fails.
 * Throws what `ggufAsHuggingFace` and `modelSource` do.
 */
export async function ggufModelSource(original: Checkpoint): Promise<ModelSource> {
  const { configJson, checkpoint, tokenizerJson, tokenizerConfig, chatTemplate, conv1dTransposed } =
    await ggufAsHuggingFace(original);
  const tokenizer = tokenizerJson === undefined ? undefined : { tokenizerJson, tokenizerConfig, chatTemplate };
  return modelSource({ configJson, checkpoint, tokenizer, conv1dTransposed });
}

/**
 * The model in an opened llama2.c file, with the first of `tokenizers` (contents of tokenizer.bin files) that has the model's
 * vocabulary size. Throws what the tokenizer reader does when none fits; without any there is no tokenizer.
 */
export async function llama2cModelSource(
  checkpoint: Checkpoint,
  tokenizers: Iterable<Uint8Array> | AsyncIterable<Uint8Array> = [],
): Promise<ModelSource> {
  const configJson = llama2cConfig(checkpoint);
  let failure: unknown;
  for await (const bytes of tokenizers) {
    try {
      const tokenizer = tokenizerFromLlama2c(bytes, Number(configJson.vocab_size));
      return modelSource({ configJson, checkpoint, tokenizer });
    } catch (error) {
      if (!isHalftoneError(error) || error.where !== 'tokenizer') throw error;
      failure = error;
    }
  }
  if (failure !== undefined) throw failure;
  return modelSource({ configJson, checkpoint });
}

/**
 * The model of opened safetensors weights and the files beside them: config.json, and where they are there tokenizer.json,
 * tokenizer_config.json, chat_template.jinja and generation_config.json. Reads no weights.
 * Throws `IO` without config.json, `FORMAT` for files that are not JSON objects or too large, and what `modelSource` throws.
 */
export async function huggingFaceModelSource(
  checkpoint: Checkpoint,
  folder: ModelFolder,
  { layouts = [], signal }: LayoutOptions = {},
): Promise<ModelSource> {
  const configJson = await readJson(folder, 'config.json', MAX_CONFIG_BYTES);
  if (configJson === undefined) {
    throw new HalftoneError(
      'IO',
      `${folder.name} has no config.json, without which safetensors weights are not a model`,
      { where: WHERE, details: { folder: folder.name } },
    );
  }
  const generationConfig = await readJson(folder, 'generation_config.json', MAX_CONFIG_BYTES);
  const joined = await withLayouts(checkpoint, { layouts, config: configJson, signal });
  return modelSource({ configJson, checkpoint: joined, tokenizer: await readTokenizer(folder), generationConfig });
}

async function readTokenizer(folder: ModelFolder): Promise<TokenizerFiles | undefined> {
  const tokenizerJson = await readJson(folder, 'tokenizer.json', MAX_TOKENIZER_BYTES);
  if (tokenizerJson === undefined) return undefined;
  const tokenizerConfig = await readJson(folder, 'tokenizer_config.json', MAX_TOKENIZER_BYTES);
  const template = await folder.read('chat_template.jinja', MAX_CONFIG_BYTES);
  return { tokenizerJson, tokenizerConfig, chatTemplate: template && new TextDecoder().decode(template) };
}

async function readJson(folder: ModelFolder, fileName: string, maxBytes: number): Promise<JsonObject | undefined> {
  const bytes = await folder.read(fileName, maxBytes);
  if (bytes === undefined) return undefined;
  const path = `${folder.name}${fileName}`;
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
