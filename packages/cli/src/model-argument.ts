import { fileURLToPath } from 'node:url';
import { HalftoneError } from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { modelUrl } from '@halftone/wren-5m';

/** Opens what the command line calls a MODEL. */
export async function openModelArgument(argument: string): Promise<ModelSource> {
  return openModel(modelLocation(argument));
}

/** The path or URL that a MODEL argument stands for. */
export function modelLocation(argument: string): string {
  if (argument === 'wren') return fileURLToPath(modelUrl);
  if (argument.startsWith('hf:')) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `'${argument}': models of the Hugging Face Hub cannot be opened by name; download the folder and name its path, or use the URL of a .gguf file`,
      { where: 'model' },
    );
  }
  return argument;
}

/** What to call a model in the metadata of a file made from it: the last part of its path, without an ending. */
export function modelName(argument: string): string {
  if (argument === 'wren') return 'wren-5m';
  const last =
    argument
      .split(/[\\/]/)
      .filter((part) => part !== '')
      .at(-1) ?? argument;
  return last.replace(/\.(gguf|safetensors|bin)$/, '');
}
