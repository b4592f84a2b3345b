import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tokenizerFromGguf, tokenizerToGguf } from '@halftone/formats';
import { llamaLogits, llamaTokenizeAll, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createModel, loadTokenizer, type ModelSource, modelSource, type TokenizerFiles } from '../src/index.js';
import { openModel } from '../src/node.js';
import { byteTokenizerJson } from './byte-tokenizer.js';
import { writeFloatGguf } from './gguf-file.js';
import { meanDivergence } from './mean-divergence.js';
import { hasShared, needsShared, shared } from './shared-models.js';
import { memoryCheckpoint, noise, randomWeights, TINY } from './tiny-models.js';

const needsOracle = oracleAvailable() ? '' : ' (skipped: llama.cpp is not installed)';
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-llama-cpp-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(needsOracle || !hasShared)(`real models in llama.cpp${needsOracle || needsShared}`, () => {
  it.each([
    ['wren-5m', 'data/books-heldout.txt'],
    ['bookworm-gpt2-14m', 'data/books-heldout.txt'],
    ['bookworm-29m', 'data/books-heldout.txt'],
    ['stories260k/stories260K.bin', 'data/tinystories-sample.txt'],
  ])('%s predicts and tokenizes as here', async (name, textFile) => {
    const source = await openModel(shared(`models/${name}`));
    const path = join(folder, `${name.replace('/', '-')}.gguf`);
    await writeFloatGguf(source, path);
    const tokenizer = loadTokenizer(source.tokenizer as TokenizerFiles);
    const text = readFileSync(shared(textFile), 'utf8').slice(0, 20_000);
    const odd = " two  spaces\n\n\tTab 1234 naïve — “quotes” 日本語 🙂 don't end ";
    const theirs = await llamaTokenizeAll(path, [text, odd], { addSpecial: true });
    const ours = [text, odd].map((each) => Array.from(tokenizer.encode(each)));
    expect(theirs).toEqual(ours);
    await expectSameLogits(source, path, ours[0].slice(0, 128), name);

    const again = await openModel(path);
    await expectSameModel(source, again, ours[0].slice(0, 32));
    const rebuilt = loadTokenizer(again.tokenizer as TokenizerFiles);
    expect([text, odd].map((each) => Array.from(rebuilt.encode(each)))).toEqual(ours);
    await again.close();
    await source.close();
  });
});

describe.skipIf(needsOracle)(`small random models in llama.cpp${needsOracle}`, () => {
  const linear = { rope_type: 'linear', factor: 2 };
  it.each([
    ['llama with llama3 scaling and biases', TINY.llama],
    ['llama with factors of its own', { ...TINY.llama, rope_scaling: { rope_type: 'factors', factors: [1, 2, 5] } }],
    ['mistral with linear scaling', { ...TINY.mistral, sliding_window: null }],
    [
      'mistral with an explicit head size',
      { ...TINY.mistral, head_dim: 12, rope_parameters: undefined, sliding_window: null },
    ],
    ['qwen2', { ...TINY.qwen2, hidden_act: 'silu', use_sliding_window: false, rope_scaling: linear }],
    ['qwen3', TINY.qwen3],
    ['gpt2', { ...TINY.gpt2, activation_function: 'gelu_new' }],
  ])('%s', async (name, config) => {
    // Three ids more than the tokenizer has: padding.
    const configJson = { ...(config as Record<string, unknown>), vocab_size: 260 };
    const checkpoint = memoryCheckpoint(randomWeights(configJson));
    const source = modelSource({ configJson, checkpoint, tokenizer: { tokenizerJson: byteTokenizerJson() } });
    const path = join(folder, `${name.replaceAll(' ', '-')}.gguf`);
    await writeFloatGguf(source, path);
    const next = noise(5);
    const tokens = Array.from({ length: 60 }, () => Math.floor((next() + 1) * 130));
    await expectSameLogits(source, path, tokens, name);
    const again = await openModel(path);
    await expectSameModel(source, again, tokens);
    await again.close();
  });
});

describe.skipIf(needsOracle || !hasShared)(`pre-tokenizers in llama.cpp${needsOracle || needsShared}`, () => {
  it.each(['gpt-2', 'smollm', 'llama-bpe', 'qwen2', 'tekken', 'default'])('%s cuts text as here', async (pre) => {
    const tokenizerJson = JSON.parse(readFileSync(shared('models/wren-5m/tokenizer.json'), 'utf8'));
    const metadata = tokenizerToGguf(tokenizerJson, { pre });
    const tokenizer = loadTokenizer(tokenizerFromGguf(new Map(metadata.map(({ key, value }) => [key, value]))));
    const configJson = { ...TINY.llama, vocab_size: tokenizer.vocabularySize };
    const source = modelSource({
      configJson,
      checkpoint: memoryCheckpoint(randomWeights(configJson)),
      tokenizer: { tokenizerJson },
    });
    const path = join(folder, `pre-${pre}.gguf`);
    await writeFloatGguf(source, path, { pre });
    const texts = [
      readFileSync(shared('data/books-heldout.txt'), 'utf8').slice(300_000, 340_000),
      "if (x<=12345) {\r\n\t\treturn a+=3.14159;  // it's WE'LL $100,000 ~^|\n\n\n}   \n  Don'T ",
      'Ünïcödé ÉCOLE Ελληνικά Кириллица 日本語テキスト 한국어 العربية 🙂👍🏽 ½ Ⅷ ٣٤٥ — “q”…',
    ];
    expect(await llamaTokenizeAll(path, texts)).toEqual(
      texts.map((text) => Array.from(tokenizer.encode(text, { addSpecialTokens: false }))),
    );
  });
});

/** Mean KL divergence of llama.cpp's predictions from ours, below the bound that the project sets itself. */
async function expectSameLogits(
  source: ModelSource,
  path: string,
  tokens: readonly number[],
  name: string,
): Promise<void> {
  const model = await createModel(source);
  const ours = await model.forward(tokens);
  const theirs = await llamaLogits(path, tokens);
  const size = model.config.vocabSize;
  expect(theirs).toHaveLength(tokens.length * size);
  const { mean, largest } = meanDivergence(ours.data, theirs, size);
  if (process.env.VERBOSE) {
    console.log(name, 'mean KL', mean.toExponential(2), 'largest difference', largest.toExponential(2));
  }
  expect(mean).toBeLessThan(1e-3);
  await model.dispose();
}

/** The file read back holds the same weights. Only rotary factors are rounded on the way, to float32. */
async function expectSameModel(source: ModelSource, again: ModelSource, tokens: readonly number[]): Promise<void> {
  const before = await createModel(source);
  const after = await createModel(again);
  const [a, b] = [await before.forward(tokens), await after.forward(tokens)];
  expect(a.data.every((value, i) => Math.abs(value - b.data[i]) <= 1e-4)).toBe(true);
  await before.dispose();
  await after.dispose();
}
