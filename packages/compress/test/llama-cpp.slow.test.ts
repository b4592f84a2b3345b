/** Files written by the pipeline, run by llama.cpp itself. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compare, type LogitsModel, PROTOCOLS, transformerLogits } from '@halftone/eval';
import { llamaWindowLogits, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { createModel, loadTokenizer, type ModelSource, type TokenizerFiles } from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outputFile } from '../src/file-output.js';
import { quantizeModel } from '../src/quantize-model.js';
import { parseRecipe } from '../src/recipes.js';

const shared = process.env.HALFTONE_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));
const missing = !existsSync(join(shared, 'models')) || !oracleAvailable();
const why = missing ? ' (skipped: needs the models folder and llama.cpp, see CONTRIBUTING)' : '';

describe.skipIf(missing)(`quantized files in llama.cpp${why}`, () => {
  let folder: string;
  let text: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'halftone-llama-'));
    text = readFileSync(join(shared, 'data/books-heldout.txt'), 'utf8').slice(0, 40_000);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Mean KL of two models over one window, and the loss of the first. */
  async function divergence(base: LogitsModel, other: LogitsModel, tokens: Int32Array) {
    const { kl, baseline } = await compare(base, other, tokens, PROTOCOLS.disjoint, { maxWindows: 1 });
    return { kl: kl.mean, meanNll: baseline.meanNll };
  }

  async function write(source: ModelSource, recipe: string, name: string): Promise<string> {
    const path = join(folder, `${name}-${recipe}.gguf`);
    await quantizeModel(source, { recipe: parseRecipe(recipe), output: outputFile(path) });
    return path;
  }

  it.each(['wren-5m', 'bookworm-29m', 'bookworm-gpt2-14m'])('%s', async (name) => {
    const source = await openModel(join(shared, 'models', name));
    const original = transformerLogits(await createModel(source));
    const tokens = loadTokenizer(source.tokenizer as TokenizerFiles).encode(text, { addSpecialTokens: false });

    // bf16 weights are stored as they are: the file must score exactly as its source does.
    const exact = await openModel(await write(source, 'BF16', name));
    const same = await divergence(original, transformerLogits(await createModel(exact)), tokens);
    expect(same.kl).toBeLessThan(1e-9);

    // llama.cpp rounds activations to 8 bits for quantized weights, so that its results differ from exact ones a little.
    const q8Path = await write(source, 'Q8_0', name);
    const q8 = await openModel(q8Path);
    const q8Model = transformerLogits(await createModel(q8, { precision: 'f32' }));
    expect((await divergence(q8Model, llamaModel(q8Path, q8), tokens)).kl).toBeLessThan(1e-3);

    // With 4 bits that rounding must at least be small beside what quantization cost; on the decoded weights, where it does
    // not happen, both must agree.
    const q4Path = await write(source, 'Q4_K_M', name);
    const q4 = await openModel(q4Path);
    const q4Model = transformerLogits(await createModel(q4, { precision: 'f32' }));
    const loss = await divergence(original, q4Model, tokens);
    expect((await divergence(q4Model, llamaModel(q4Path, q4), tokens)).kl).toBeLessThan(loss.kl / 4);
    const decodedPath = await write(q4, 'F32', `${name}-decoded`);
    expect((await divergence(q4Model, llamaModel(decodedPath, q4), tokens)).kl).toBeLessThan(1e-5);
    for (const opened of [source, exact, q8, q4]) await opened.close();
  });
});

/** llama.cpp as a model that the evaluation can run. */
function llamaModel(path: string, { config }: ModelSource): LogitsModel {
  return {
    vocabularySize: config.vocabSize,
    contextLength: config.contextLength,
    async *logits(tokens, from) {
      const { windows } = await llamaWindowLogits(path, [[...tokens]], { from });
      const logits = windows[0] as Float32Array;
      yield { start: from, rows: logits.length / config.vocabSize, logits };
    },
  };
}
