import { fileURLToPath } from 'node:url';
import { gguf, httpSource, openCheckpoint, safetensors } from '@halftone/formats';
import { openCheckpointPath } from '@halftone/formats/node';
import { type Checkpoint, HalftoneError, type ReadOptions } from '@halftone/tensor';
import { loadTokenizer, type ModelSource, openModelUrl, type Tokenizer } from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { modelUrl } from '@halftone/wren-5m';

/** Opens what the command line calls a MODEL. */
export async function openModelArgument(argument: string, options: ReadOptions = {}): Promise<ModelSource> {
  const location = modelLocation(argument);
  return isUrl(location) ? openModelUrl(location, options) : openModel(location, options);
}

/** Opens the tensors of a MODEL argument that is perhaps not a model. Of URLs, single files only. */
export async function openCheckpointArgument(argument: string, options: ReadOptions = {}): Promise<Checkpoint> {
  const location = modelLocation(argument);
  if (!isUrl(location)) return openCheckpointPath(location, options);
  return openCheckpoint(await httpSource(location, options), { codecs: [safetensors, gguf], ...options });
}

/** The path or URL that a MODEL argument stands for. */
function modelLocation(argument: string): string {
  if (argument === 'wren') return fileURLToPath(modelUrl);
  if (argument.startsWith('hf:')) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `'${argument}': models of the Hugging Face Hub cannot be opened by name; download the folder and name its path, or use the URL of a .gguf file or of a folder`,
      { where: 'model' },
    );
  }
  return argument;
}

function isUrl(location: string): boolean {
  return /^https?:\/\//i.test(location);
}

/** What to call a model in the metadata of a file made from it: the last part of its path, without an ending. */
export function modelName(argument: string): string {
  if (argument === 'wren') return 'wren-5m';
  const path = isUrl(argument) ? argument.replace(/[?#].*$/, '') : argument;
  const last =
    path
      .split(/[\\/]/)
      .filter((part) => part !== '')
      .at(-1) ?? argument;
  return last.replace(/\.(gguf|safetensors|bin)$/, '');
}

/** The tokenizer of an opened model. Throws `FORMAT` when it has none; `name` is what the user called the model. */
export function requireTokenizer(source: ModelSource, name: string): Tokenizer {
  if (!source.tokenizer) {
    throw new HalftoneError('FORMAT', `${name} has no tokenizer; put its tokenizer.json beside the weights`, {
      where: 'model',
    });
  }
  return loadTokenizer(source.tokenizer);
}
