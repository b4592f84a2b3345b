/**
 * The main job from end to end on the embedded model: quantize to Q4_K and Q8_0, judge both on held-out text, let all three
 * write, and leave `.gguf` files that llama.cpp runs. Run by `npm run demo`.
 */
import { mkdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseRecipe, type Recipe } from '@halftone/compress';
import { checkpointBytes } from '@halftone/eval';
import {
  createModel,
  defaultBackend,
  generateText,
  type ModelSource,
  type Tokenizer,
  type TransformerModel,
} from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { heldoutTextUrl, modelUrl } from '@halftone/wren-5m';
import { type CommandContext, createContext } from './context.js';
import { chooseProtocol, type EvaluationResult, evaluate, readText } from './evaluation.js';
import { requireTokenizer } from './model-argument.js';
import { formatBytes, formatCount, formatSeconds, formatSmall } from './terminal/format.js';
import { renderTable } from './terminal/table.js';
import { writeModel } from './write-model.js';

const RECIPES = ['Q8_0', 'Q4_K_M'];
const PROMPTS = ['The captain looked out over the water and', 'It was late in the evening when'];
const GENERATED_TOKENS = 40;

const folder = process.argv[2] ?? 'out';
const context = createContext({ stdout: process.stdout, stderr: process.stderr }, [], new AbortController().signal);
const start = performance.now();

await mkdir(folder, { recursive: true });
const original = await openModel(fileURLToPath(modelUrl));
const account = checkpointBytes(original.checkpoint);
context.print(
  `wren-5m: a llama of ${formatCount(account.elements)} weights in bf16, ${formatBytes(account.bytes)}, trained on public-domain books.\n`,
);

const files: { recipe: Recipe; path: string; source: ModelSource }[] = [];
for (const name of RECIPES) {
  const recipe = parseRecipe(name);
  const path = join(folder, `wren-5m-${name}.gguf`);
  const report = await writeModel(original, 'wren', { recipe, out: path }, context);
  context.progress.stop();
  context.print(`Quantized to ${name} in ${formatSeconds(report.seconds)}.`);
  files.push({ recipe, path, source: await openModel(path) });
}

const results = await judge(context);
context.print(`\n${renderComparison(results)}`);
context.print(
  `\n${formatCount(results[0].scoredTokens)} tokens that the model never saw, ${results[0].windows} windows of ${results[0].protocol.window}. ` +
    'KL: nats a token by which the next-word odds differ from the original.\n',
);
await writeSamples();
context.print('The files run in llama.cpp as they are:');
for (const { path } of files) context.print(`  ${relative(process.cwd(), path)}`);
context.print(`\nDone in ${formatSeconds((performance.now() - start) / 1000)}.`);

await original.close();
for (const { source } of files) await source.close();

async function judge(context: CommandContext): Promise<EvaluationResult[]> {
  const quantized = files.map(({ recipe, source }) => ({ name: recipe.name, source }));
  return evaluate(
    {
      candidates: quantized,
      baseline: { name: 'original', source: original },
      text: await readText(fileURLToPath(heldoutTextUrl)),
      protocol: chooseProtocol('disjoint', undefined),
    },
    context,
  );
}

function renderComparison(results: readonly EvaluationResult[]): string {
  const row = (result: EvaluationResult) => [
    result.model,
    formatBytes(result.bytes),
    result.bitsPerWeight.toFixed(2),
    result.perplexity.toFixed(2),
    result.kl ? `${formatSmall(result.kl.mean)} ± ${formatSmall(result.kl.standardError)}` : '',
    result.sameTop1 === undefined ? '' : `${(100 * result.sameTop1).toFixed(1)}%`,
  ];
  return renderTable(
    [
      { title: 'model' },
      { title: 'size', align: 'right' },
      { title: 'bits per weight', align: 'right' },
      { title: 'perplexity', align: 'right' },
      { title: 'KL mean', align: 'right' },
      { title: 'same top token', align: 'right' },
    ],
    [
      [
        'original',
        formatBytes(original.checkpoint.byteLength),
        account.bitsPerWeight.toFixed(2),
        (results[0].baseline?.perplexity ?? Number.NaN).toFixed(2),
        '',
        '',
      ],
      ...results.map(row),
    ],
  );
}

async function writeSamples(): Promise<void> {
  const backend = defaultBackend();
  const named = [
    { name: 'original', source: original },
    ...files.map(({ recipe, source }) => ({ name: recipe.name, source })),
  ];
  const writers: { name: string; model: TransformerModel; tokenizer: Tokenizer }[] = [];
  for (const { name, source } of named) {
    writers.push({ name, model: await createModel(source, { backend }), tokenizer: requireTokenizer(source, name) });
  }
  const width = Math.max(...writers.map(({ name }) => name.length));
  for (const prompt of PROMPTS) {
    context.print(`"${prompt} ..."`);
    for (const { name, model, tokenizer } of writers) {
      const { text } = await generateText(model, tokenizer, prompt, {
        maxTokens: GENERATED_TOKENS,
        sampling: { temperature: 0.7, minP: 0.05 },
        seed: 7,
      });
      context.print(`  ${name.padEnd(width)}  ${text.replace(/\s+/g, ' ').trim()}`);
    }
    context.print('');
  }
  for (const { model } of writers) await model.dispose();
  await backend.dispose();
}
