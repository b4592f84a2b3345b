import { randomInt } from 'node:crypto';
import { HalftoneError } from '@halftone/tensor';
import {
  applyChatTemplate,
  createModel,
  type GeneratedToken,
  generate,
  type ModelSource,
  type Tokenizer,
} from '@halftone/transformer';
import { type Command, Option } from 'commander';
import type { CommandContext } from '../context.js';
import { openModelArgument, requireTokenizer } from '../model-argument.js';
import { addCommonOptions, integer, nonNegative, positiveInteger, probability } from '../options.js';

interface GenerateCommandOptions {
  readonly prompt: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly seed?: number;
  readonly stop?: string[];
  readonly chat?: boolean;
  readonly system?: string;
}

export function addGenerateCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('generate')
    .summary('continue a text')
    .description('Continues a prompt, and prints the text as it comes.')
    .argument('<model>', 'the model that writes')
    .requiredOption('--prompt <text>', 'the text to continue')
    .option('--max-tokens <n>', 'most tokens to write', positiveInteger, 128)
    .option('--temperature <t>', '0 takes the most likely token always', nonNegative, 0.8)
    .option('--top-k <n>', 'choose among the n most likely tokens (0: all)', integer, 0)
    .option('--top-p <p>', 'choose among the tokens that make up this probability', probability, 1)
    .option('--min-p <p>', 'leave out tokens less likely than this share of the most likely one', probability, 0)
    .option('--repetition-penalty <x>', 'above 1: make tokens that were used less likely', nonNegative, 1)
    .option('--seed <n>', 'the same seed gives the same text (default: a random one)', integer)
    .option('--stop <text...>', 'texts that end the writing')
    .option('--chat', "put the prompt into the model's chat template as the user's message")
    .addOption(new Option('--system <text>', 'with --chat: a system message').implies({ chat: true }))
    .addHelpText('after', GENERATE_HELP)
    .action((model: string, options: GenerateCommandOptions) => generateAction(model, options, context));
  addCommonOptions(command);
}

const GENERATE_HELP = `
Examples:
  halftone generate wren --prompt "It was a dark night" --max-tokens 60
  halftone generate wren-q4.gguf --prompt "The captain" --temperature 0
  halftone generate chat-model.gguf --chat --prompt "What is a halftone?" --seed 1 --json`;

async function generateAction(
  argument: string,
  options: GenerateCommandOptions,
  context: CommandContext,
): Promise<void> {
  const source = await openModelArgument(argument, { signal: context.signal });
  try {
    const tokenizer = requireTokenizer(source, argument);
    const prompt = encodePrompt(source, tokenizer, options);
    const model = await createModel(source, { signal: context.signal, onProgress: context.progress.report });
    context.progress.stop();
    const seed = options.seed ?? randomInt(2 ** 31);
    const start = performance.now();
    const tokens: GeneratedToken[] = [];
    if (!context.json && !options.chat) context.streams.stdout.write(options.prompt);
    const { temperature, topK, topP, minP, repetitionPenalty } = options;
    for await (const token of generate(model, prompt, {
      tokenizer,
      seed,
      maxTokens: options.maxTokens,
      stopTexts: options.stop,
      sampling: { temperature, topK, topP, minP, repetitionPenalty },
      logProbabilities: context.json,
      signal: context.signal,
    })) {
      tokens.push(token);
      if (!context.json) context.streams.stdout.write(token.text);
    }
    const seconds = (performance.now() - start) / 1000;
    await model.dispose();
    if (context.json) context.printJson(summary(argument, prompt, tokens, seed, seconds));
    else context.streams.stdout.write('\n');
  } finally {
    await source.close();
  }
}

function encodePrompt(source: ModelSource, tokenizer: Tokenizer, options: GenerateCommandOptions): Int32Array {
  if (!options.chat) return tokenizer.encode(options.prompt);
  const { tokenizerConfig = {}, chatTemplate = tokenizerConfig.chat_template } = source.tokenizer ?? {};
  if (typeof chatTemplate !== 'string') {
    throw new HalftoneError('UNSUPPORTED', 'the model has no chat template; leave out --chat', { where: 'generate' });
  }
  const system = options.system === undefined ? [] : [{ role: 'system', content: options.system }];
  const text = applyChatTemplate(chatTemplate, [...system, { role: 'user', content: options.prompt }], {
    addGenerationPrompt: true,
    bosToken: specialToken(tokenizerConfig.bos_token),
    eosToken: specialToken(tokenizerConfig.eos_token),
  });
  return tokenizer.encode(text, { addSpecialTokens: false });
}

/** tokenizer_config.json writes a special token as its text or as an object that holds it. */
function specialToken(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown } | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

function summary(model: string, prompt: Int32Array, tokens: readonly GeneratedToken[], seed: number, seconds: number) {
  return {
    model,
    promptTokens: prompt.length,
    text: tokens.map(({ text }) => text).join(''),
    tokens: tokens.map(({ token }) => token),
    logProbabilities: tokens.map(({ logProbability }) => logProbability),
    finishReason: tokens.at(-1)?.finishReason,
    seed,
    seconds,
    tokensPerSecond: tokens.length / seconds,
  };
}
