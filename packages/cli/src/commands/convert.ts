import { asStored, decodedSource, inGgmlBlocks, inLayout, parseRecipe, type Recipe } from '@halftone/compress';
import { checkpointBytes } from '@halftone/eval';
import { WEIGHT_LAYOUTS } from '@halftone/formats/layouts';
import { HalftoneError, type WorkOptions } from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';
import { type Command, Option } from 'commander';
import type { CommandContext } from '../context.js';
import { openModelArgument } from '../model-argument.js';
import { addCommonOptions } from '../options.js';
import { formatBytes, formatSeconds } from '../terminal/format.js';
import { renderFacts } from '../terminal/table.js';
import { writeModel } from '../write-model.js';
import { writeNpzModel } from '../write-npz.js';
import { writeOnnx } from '../write-onnx.js';

interface ConvertOptions {
  readonly out: string;
  readonly dtype?: string;
  readonly layout?: string;
}

const WRITTEN_LAYOUTS = WEIGHT_LAYOUTS.filter((layout) => layout.writer !== undefined);

export function addConvertCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('convert')
    .summary('change the container, the layout or the float type')
    .description(
      'Writes a model in another format, without quantizing it: every weight keeps its value, or is decoded.',
    )
    .argument('<model>', 'the model to convert')
    .requiredOption(
      '--out <path>',
      'a path ending in .gguf, .onnx or .npz, or else a new folder with model.safetensors',
    )
    .addOption(
      new Option('--layout <name>', 'store quantized weights in this layout, exactly; what does not fit is refused')
        .choices(WRITTEN_LAYOUTS.map((layout) => layout.name))
        .conflicts('dtype'),
    )
    .addOption(new Option('--dtype <type>', 'decode all weights to this float type').choices(['F32', 'F16', 'BF16']))
    .addHelpText('after', CONVERT_HELP)
    .action((model: string, options: ConvertOptions) => convertAction(model, options, context));
  addCommonOptions(command);
}

const CONVERT_HELP = `
Without --dtype, no weight changes its value: quantized ones move to the blocks of a .gguf file, or to another
layout of a folder, or MatMulNBits nodes of an .onnx file, where that is exact. Norms and biases are F32 in a .gguf file, as llama.cpp wants them.

Examples:
  halftone convert wren --out wren-f16.gguf --dtype F16
  halftone convert ./my-model-gptq --out my-model.gguf
  halftone convert model-q4_0.gguf --out my-model-awq --layout awq
  halftone convert model.gguf --out model-hf --dtype BF16
  halftone convert ./my-model-gptq --out model.onnx`;

async function convertAction(model: string, options: ConvertOptions, context: CommandContext): Promise<void> {
  const work = { signal: context.signal, onProgress: context.progress.report };
  const source = await openModelArgument(model, work);
  try {
    if (/\.(onnx|npz)$/.test(options.out)) await convertToArrays(source, options, work, context);
    else await convertToModel(source, model, options, work, context);
  } finally {
    await source.close();
  }
}

async function convertToModel(
  source: ModelSource,
  model: string,
  options: ConvertOptions,
  work: WorkOptions,
  context: CommandContext,
): Promise<void> {
  const { converted, recipe } = await convertedSource(source, options, work);
  const written = await writeModel(converted, model, { recipe, out: options.out }, context);
  // A layout's tensors are not weights: what is written counts against the weights that were read.
  const weightBytes = written.layers.reduce((sum, { bytes }) => sum + bytes, 0);
  const report = { ...written, bitsPerWeight: (8 * weightBytes) / checkpointBytes(source.checkpoint).elements };
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
}

async function convertToArrays(
  source: ModelSource,
  options: ConvertOptions,
  work: WorkOptions,
  context: CommandContext,
): Promise<void> {
  const { out } = options;
  const start = performance.now();
  const bytes = await writeArrays(source, options, work);
  const seconds = (performance.now() - start) / 1000;
  context.progress.stop();
  if (context.json) {
    context.printJson({ out, bytes, seconds });
    return;
  }
  context.print(
    renderFacts([
      ['wrote', out],
      ['size', `${formatBytes(bytes)}${out.endsWith('.onnx') ? `, weights in ${out}_data` : ''}`],
      ['time', formatSeconds(seconds)],
    ]),
  );
}

/** Formats that are no home of a whole model: no tokenizer goes with them. Gives the bytes written. */
async function writeArrays(
  source: ModelSource,
  { out, dtype, layout }: ConvertOptions,
  work: WorkOptions,
): Promise<number> {
  const onnx = out.endsWith('.onnx');
  const refused = layout !== undefined || dtype === 'BF16' || (onnx && dtype === 'F16');
  if (refused) {
    const fix = onnx ? 'leave both out, or use --dtype F32' : 'use --dtype F32 or F16';
    throw new HalftoneError('UNSUPPORTED', `${out}: neither --layout nor --dtype ${dtype ?? ''} is for it; ${fix}`, {
      where: 'convert',
    });
  }
  if (onnx) return writeOnnx(dtype === undefined ? source : decodedSource(source), out, work);
  return writeNpzModel(decodedSource(source), out, dtype === 'F16' ? 'f16' : 'f32', work);
}

interface Conversion {
  readonly converted: ModelSource;
  readonly recipe: Recipe;
}

async function convertedSource(
  source: ModelSource,
  { out, dtype, layout }: ConvertOptions,
  work: WorkOptions,
): Promise<Conversion> {
  if (dtype !== undefined) return { converted: decodedSource(source), recipe: parseRecipe(dtype) };
  if (out.endsWith('.gguf')) {
    if (layout === undefined) return { converted: await inGgmlBlocks(source, work), recipe: asStored };
    throw new HalftoneError('UNSUPPORTED', `--layout ${layout} is for folders; a .gguf file has ggml blocks only`, {
      where: 'convert',
    });
  }
  // A folder keeps the layout that the source has.
  const name = layout ?? source.checkpoint.quantized?.values().next().value?.layout;
  const chosen = WRITTEN_LAYOUTS.find((candidate) => candidate.name === name);
  return { converted: chosen ? await inLayout(source, chosen, work) : source, recipe: asStored };
}
