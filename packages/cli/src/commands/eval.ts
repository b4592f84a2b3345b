import { PROTOCOLS } from '@halftone/eval';
import { type Command, Option } from 'commander';
import type { CommandContext } from '../context.js';
import { chooseProtocol, type EvaluationResult, evaluate, readText } from '../evaluation.js';
import { openModelArgument } from '../model-argument.js';
import { addCommonOptions, positiveInteger } from '../options.js';
import { formatBytes, formatCount, formatSeconds, formatSmall } from '../terminal/format.js';
import { renderFacts } from '../terminal/table.js';

interface EvalOptions {
  readonly text: string;
  readonly window?: number;
  readonly maxWindows?: number;
  readonly baseline?: string;
  readonly protocol: string;
  readonly kv: string;
}

export function addEvalCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('eval')
    .summary('judge a model on a text, alone or against a baseline')
    .description('Perplexity of a model on a text; with --baseline also KL divergence and agreement with that model.')
    .argument('<model>', 'the model to judge')
    .requiredOption('--text <file>', 'UTF-8 text, best one that neither training nor calibration has seen')
    .option('--baseline <model>', 'the original to compare with, run in lockstep')
    .addOption(
      new Option('--protocol <name>', 'how windows are cut and scored')
        .choices(Object.keys(PROTOCOLS))
        .default('disjoint'),
    )
    .option('--window <tokens>', "tokens of a window (default: the protocol's, or the whole context)", positiveInteger)
    .option('--max-windows <n>', 'only the first n windows', positiveInteger)
    .addOption(new Option('--kv <policy>', 'key/value cache policy').choices(['full']).default('full'))
    .addHelpText('after', EVAL_HELP)
    .action((model: string, options: EvalOptions) => evalAction(model, options, context));
  addCommonOptions(command);
}

const EVAL_HELP = `
Examples:
  halftone eval wren --text book.txt
  halftone eval wren-q4.gguf --text book.txt --baseline wren
  halftone eval model.gguf --text wiki.test.raw --protocol llama.cpp --max-windows 20 --json

Numbers of different protocols or texts must not be compared.`;

async function evalAction(model: string, options: EvalOptions, context: CommandContext): Promise<void> {
  const protocol = chooseProtocol(options.protocol, options.window);
  const text = await readText(options.text);
  const source = await openModelArgument(model, { signal: context.signal });
  const baseline =
    options.baseline === undefined ? undefined : await openModelArgument(options.baseline, { signal: context.signal });
  try {
    const [result] = await evaluate(
      {
        candidates: [{ name: model, source }],
        baseline: baseline && { name: options.baseline as string, source: baseline },
        text,
        protocol,
        maxWindows: options.maxWindows,
      },
      context,
    );
    if (context.json) context.printJson(result);
    else context.print(renderEvaluation(result));
  } finally {
    await source.close();
    await baseline?.close();
  }
}

function renderEvaluation(result: EvaluationResult): string {
  const { protocol, kl } = result;
  const facts: [string, string][] = [
    ['model', `${result.model}, ${formatBytes(result.bytes)}, ${result.bitsPerWeight.toFixed(2)} bits per weight`],
    ['protocol', `${protocol.name}, windows of ${protocol.window} tokens`],
    ['scored', `${formatCount(result.scoredTokens)} tokens in ${formatCount(result.windows)} windows`],
    ['perplexity', `${result.perplexity.toFixed(3)} ± ${result.perplexityStandardError.toFixed(3)}`],
  ];
  if (kl && result.baseline && result.sameTop1 !== undefined) {
    facts.push(
      ['baseline', `perplexity ${result.baseline.perplexity.toFixed(3)}`],
      [
        'KL divergence',
        `${formatSmall(kl.mean)} ± ${formatSmall(kl.standardError)} nats a token, 99% below ${formatSmall(kl.p99)}`,
      ],
      [
        'same top token',
        `${(100 * result.sameTop1).toFixed(2)}% ± ${(100 * (result.sameTop1StandardError ?? 0)).toFixed(2)}%`,
      ],
    );
  }
  facts.push([
    'time',
    `${formatSeconds(result.seconds)}, ${formatCount(Math.round(result.tokensPerSecond))} tokens a second`,
  ]);
  return renderFacts(facts);
}
