import {
  type Calibration,
  calibrationSequences,
  parseRecipe,
  type QuantizeReport,
  RECIPE_NAMES,
} from '@halftone/compress';
import { defaultBackend, type ModelSource } from '@halftone/transformer';
import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import { chooseProtocol, type EvaluationResult, evaluate, readText } from '../evaluation.js';
import { openModelArgument, requireTokenizer } from '../model-argument.js';
import { addCommonOptions, positiveInteger } from '../options.js';
import { formatBytes, formatCount, formatSeconds, formatSmall } from '../terminal/format.js';
import { renderFacts, renderTable } from '../terminal/table.js';
import { writeModel } from '../write-model.js';

interface QuantizeOptions {
  readonly recipe: string;
  readonly out: string;
  readonly calibration?: string;
  readonly calibrationTokens: number;
  readonly text?: string;
  readonly maxWindows?: number;
  readonly layers?: boolean;
}

export function addQuantizeCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('quantize')
    .summary('make a model smaller')
    .description('Quantizes a model by a recipe and writes a .gguf file that llama.cpp runs.')
    .argument('<model>', 'the model to quantize')
    .requiredOption('--recipe <name>', `one of ${RECIPE_NAMES.join(', ')}`)
    .requiredOption('--out <path>', 'the .gguf file to write')
    .option(
      '--calibration <file>',
      'text to weigh errors by: how strongly each input channel is used (an importance matrix)',
    )
    .option('--calibration-tokens <n>', 'tokens of that text to use', positiveInteger, 65_536)
    .option('--text <file>', 'held-out text: judge the result against the original on it')
    .option('--max-windows <n>', 'judge on the first n windows only', positiveInteger)
    .option('--layers', 'print the error of every tensor')
    .addHelpText('after', QUANTIZE_HELP)
    .action((model: string, options: QuantizeOptions) => quantizeAction(model, options, context));
  addCommonOptions(command);
}

const QUANTIZE_HELP = `
The output appears under its name only when it is whole. Run the same command again after an interruption and
it goes on where it was; the bytes are the same.

Examples:
  halftone quantize wren --recipe Q4_K_M --out wren-q4.gguf
  halftone quantize ./my-model --recipe Q3_K_M --calibration train.txt --text heldout.txt --out my-model-q3.gguf
  halftone quantize model-f16.gguf --recipe Q8_0 --out model-q8.gguf --json`;

async function quantizeAction(model: string, options: QuantizeOptions, context: CommandContext): Promise<void> {
  const recipe = parseRecipe(options.recipe, { importance: options.calibration !== undefined });
  const heldout = options.text === undefined ? undefined : await readText(options.text);
  const source = await openModelArgument(model, { signal: context.signal });
  try {
    const calibration = await readCalibration(source, model, options);
    const report = await writeModel(source, model, { recipe, out: options.out, calibration }, context);
    context.progress.stop();
    const evaluation = heldout === undefined ? undefined : await judge(source, model, options, heldout, context);
    if (context.json) {
      context.printJson({
        ...report,
        out: options.out,
        peakRssBytes: process.resourceUsage().maxRSS * 1024,
        evaluation,
      });
    } else {
      context.print(renderReport(report, options, evaluation));
    }
  } finally {
    await source.close();
  }
}

async function readCalibration(
  source: ModelSource,
  model: string,
  options: QuantizeOptions,
): Promise<Calibration | undefined> {
  if (options.calibration === undefined) return undefined;
  const text = await readText(options.calibration);
  const tokens = requireTokenizer(source, model).encode(text, { addSpecialTokens: false });
  const length = Math.min(512, source.config.contextLength);
  return { sequences: calibrationSequences(tokens, length, options.calibrationTokens), backend: defaultBackend() };
}

async function judge(
  source: ModelSource,
  model: string,
  options: QuantizeOptions,
  text: string,
  context: CommandContext,
): Promise<EvaluationResult> {
  const quantized = await openModelArgument(options.out, { signal: context.signal });
  try {
    const [result] = await evaluate(
      {
        candidates: [{ name: options.out, source: quantized }],
        baseline: { name: model, source },
        text,
        protocol: chooseProtocol('disjoint', undefined),
        maxWindows: options.maxWindows,
      },
      context,
    );
    return result;
  } finally {
    await quantized.close();
  }
}

function renderReport(report: QuantizeReport, options: QuantizeOptions, evaluation?: EvaluationResult): string {
  const facts: [string, string][] = [
    ['wrote', options.out],
    ['recipe', report.recipe],
    ['size', `${formatBytes(report.bytes)}, ${report.bitsPerWeight.toFixed(3)} bits per weight`],
    ['time', formatSeconds(report.seconds)],
  ];
  if (report.resumed > 0) facts.push(['resumed', `${formatCount(report.resumed)} tensors were done already`]);
  if (evaluation?.kl && evaluation.baseline && evaluation.sameTop1 !== undefined) {
    facts.push(
      ['perplexity', `${evaluation.perplexity.toFixed(3)}, original ${evaluation.baseline.perplexity.toFixed(3)}`],
      [
        'KL divergence',
        `${formatSmall(evaluation.kl.mean)} ± ${formatSmall(evaluation.kl.standardError)} nats a token`,
      ],
      ['same top token', `${(100 * evaluation.sameTop1).toFixed(2)}%`],
    );
  }
  const text = renderFacts(facts);
  return options.layers ? `${text}\n\n${renderLayers(report)}` : text;
}

function renderLayers(report: QuantizeReport): string {
  return renderTable(
    [
      { title: 'tensor' },
      { title: 'type' },
      { title: 'bits each', align: 'right' },
      { title: 'relative error', align: 'right' },
    ],
    report.layers.map(({ name, storage, bitsPerWeight, relativeError }) => [
      name,
      storage,
      bitsPerWeight.toFixed(3),
      formatSmall(relativeError),
    ]),
  );
}
