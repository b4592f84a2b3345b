import { parseRecipe } from '@halftone/compress';
import { type Command, Option } from 'commander';
import type { CommandContext } from '../context.js';
import { openModelArgument } from '../model-argument.js';
import { addCommonOptions } from '../options.js';
import { formatBytes, formatSeconds } from '../terminal/format.js';
import { renderFacts } from '../terminal/table.js';
import { writeModel } from '../write-model.js';

interface ConvertOptions {
  readonly out: string;
  readonly dtype: string;
}

export function addConvertCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('convert')
    .summary('change the container or the float type')
    .description('Writes a model as a .gguf file or as a folder in the Hugging Face layout, without quantizing it.')
    .argument('<model>', 'the model to convert')
    .requiredOption('--out <path>', 'a path ending in .gguf, or else a new folder with model.safetensors')
    .addOption(
      new Option('--dtype <type>', 'float type of the weights').choices(['F32', 'F16', 'BF16']).default('BF16'),
    )
    .addHelpText('after', CONVERT_HELP)
    .action((model: string, options: ConvertOptions) => convertAction(model, options, context));
  addCommonOptions(command);
}

const CONVERT_HELP = `
Quantized weights are decoded. Norms and biases are F32 in a .gguf file, as llama.cpp wants them.

Examples:
  halftone convert wren --out wren-f16.gguf --dtype F16
  halftone convert model.gguf --out model-hf --dtype BF16`;

async function convertAction(model: string, options: ConvertOptions, context: CommandContext): Promise<void> {
  const source = await openModelArgument(model, { signal: context.signal });
  try {
    const report = await writeModel(source, model, { recipe: parseRecipe(options.dtype), out: options.out }, context);
    context.progress.stop();
    if (context.json) {
      context.printJson({ ...report, out: options.out, peakRssBytes: process.resourceUsage().maxRSS * 1024 });
      return;
    }
    const largest = Math.max(...report.layers.map((layer) => layer.relativeError));
    context.print(
      renderFacts([
        ['wrote', options.out],
        ['size', `${formatBytes(report.bytes)}, ${report.bitsPerWeight.toFixed(3)} bits per weight`],
        [
          'largest error',
          largest === 0 ? 'none: every weight is exact' : `${largest.toExponential(2)} of a tensor's norm`,
        ],
        ['time', formatSeconds(report.seconds)],
      ]),
    );
  } finally {
    await source.close();
  }
}
