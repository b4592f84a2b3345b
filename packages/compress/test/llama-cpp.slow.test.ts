/** Files written by the pipeline, run by llama.cpp itself. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compare, type LogitsModel, PROTOCOLS, perplexity, transformerLogits } from '@halftone/eval';
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

  for (const name of ['wren-5m', 'bookworm-29m', 'bookworm-gpt2-14m']) {
    describe(name, () => {
      for (const recipe of ['BF16', 'Q8_0', 'Q4_K_M']) {
        it(`${recipe}: llama.cpp and we agree on the file`, async () => {
          const source = await openModel(join(shared, 'models', name));
          const path = join(folder, `${name}-${recipe}.gguf`);
          await quantizeModel(source, { recipe: parseRecipe(recipe), output: outputFile(path) });
          const file = await openModel(path);
          const tokens = loadTokenizer(file.tokenizer as TokenizerFiles).encode(text, { addSpecialTokens: false });
          const ours = await createModel(file);
          const result = await compare(transformerLogits(ours), llamaModel(path, file), tokens, PROTOCOLS.disjoint, {
            maxWindows: 2,
          });
          expect(result.kl.mean).toBeLessThan(1e-3);
          if (recipe === 'BF16') await expectSamePerplexity(source, result.baseline.meanNll, tokens);
          await ours.dispose();
          await file.close();
          await source.close();
        });
      }
    });
  }
});

/** bf16 weights are stored as they are, so that the file must score exactly as its source does. */
async function expectSamePerplexity(source: ModelSource, meanNll: number, tokens: Int32Array): Promise<void> {
  const original = await createModel(source);
  const result = await perplexity(transformerLogits(original), tokens, PROTOCOLS.disjoint, { maxWindows: 2 });
  expect(Math.abs(result.meanNll - meanNll)).toBeLessThan(1e-6);
  await original.dispose();
}

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
