import { resolve } from 'node:path';
import {
  type Calibration,
  ggufOutput,
  type OutputFormat,
  type QuantizeReport,
  quantizeModel,
  type Recipe,
  safetensorsOutput,
} from '@halftone/compress';
import { outputFile, outputFolder } from '@halftone/compress/node';
import type { ModelSource } from '@halftone/transformer';
import type { CommandContext } from './context.js';
import { modelName } from './model-argument.js';

interface WriteRequest {
  readonly recipe: Recipe;
  readonly out: string;
  readonly calibration?: Calibration;
}

/** Writes a `.gguf` file, or a folder in the Hugging Face layout, as the ending of `out` says. */
export async function writeModel(
  source: ModelSource,
  model: string,
  { recipe, out, calibration }: WriteRequest,
  context: CommandContext,
): Promise<QuantizeReport> {
  const format: OutputFormat = out.endsWith('.gguf') ? ggufOutput : safetensorsOutput;
  try {
    return await quantizeModel(source, {
      recipe,
      format,
      output: format === ggufOutput ? outputFile(resolve(out)) : outputFolder(resolve(out)),
      calibration,
      name: modelName(model),
      signal: context.signal,
      onProgress: context.progress.report,
    });
  } finally {
    await calibration?.backend.dispose();
  }
}
