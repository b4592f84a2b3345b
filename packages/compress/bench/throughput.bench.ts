/**
 * Whole files: `quantizeModel` against llama.cpp's `llama_model_quantize` on one synthetic bf16 model in the same run.
 * MB/s counts the bf16 weights. The peer runs in a process of its own, whose start (about 0.2 s) is in its time; ours includes
 * measuring the error of every tensor, which the peer does not do.
 *
 *   pnpm --filter @halftone/compress bench [--megabytes 300] [--json]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BenchResult, numberArgument, printBench, writeSyntheticLlama } from '@halftone/bench';
import { type LlamaFileType, llamaQuantize, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { openModel } from '@halftone/transformer/node';
import { parseRecipe, quantizeModel } from '../src/index.js';
import { outputFile } from '../src/node.js';

const RECIPES = ['Q8_0', 'Q4_0', 'Q4_K_M', 'Q6_K'] as const satisfies readonly LlamaFileType[];

const folder = await mkdtemp(join(tmpdir(), 'halftone-throughput-'));
try {
  const { bytes } = await writeSyntheticLlama(join(folder, 'model'), numberArgument('--megabytes', 300) * 1e6);
  const source = await openModel(join(folder, 'model'));
  const plain = join(folder, 'bf16.gguf');
  await ours(source, 'BF16', plain);
  const results: BenchResult[] = [];
  for (const recipe of RECIPES) {
    const seconds = await ours(source, recipe, join(folder, 'ours.gguf'));
    const speed = bytes / 1e6 / seconds;
    if (!oracleAvailable()) {
      results.push({ name: recipe, ours: speed, unit: 'MB/s' });
      continue;
    }
    for (const threads of [1, 2]) {
      const peer = bytes / 1e6 / (await theirs(plain, recipe, threads));
      const peerName = `llama.cpp, ${threads} thread${threads > 1 ? 's' : ''}`;
      results.push({ name: recipe, ours: speed, peer, peerName, unit: 'MB/s', ratio: speed / peer });
    }
  }
  await source.close();
  printBench({ title: `Quantizing a ${(bytes / 1e6).toFixed(0)} MB bf16 model, ours on one thread`, results });
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function ours(source: Parameters<typeof quantizeModel>[0], recipe: string, path: string): Promise<number> {
  return (await quantizeModel(source, { recipe: parseRecipe(recipe), output: outputFile(path) })).seconds;
}

async function theirs(source: string, recipe: LlamaFileType, threads: number): Promise<number> {
  const start = performance.now();
  await llamaQuantize(source, join(folder, 'theirs.gguf'), recipe, { threads });
  return (performance.now() - start) / 1000;
}
