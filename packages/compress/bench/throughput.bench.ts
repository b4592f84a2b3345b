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
import { streamRows } from '@halftone/formats';
import { type LlamaFileType, llamaQuantize, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { rtn } from '@halftone/quantizers';
import { decode, type PackedTensor, tensor } from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { parseRecipe, quantizeModel } from '../src/index.js';
import { outputFile } from '../src/node.js';

/** The first is also the peer of RTN, whose codes no llama.cpp type holds in general: like it 4 bits by rounding to nearest. */
const RECIPES = ['Q4_0', 'Q8_0', 'Q4_K_M', 'Q6_K'] as const satisfies readonly LlamaFileType[];

const folder = await mkdtemp(join(tmpdir(), 'halftone-throughput-'));
try {
  const { bytes } = await writeSyntheticLlama(join(folder, 'model'), numberArgument('--megabytes', 300) * 1e6);
  const source = await openModel(join(folder, 'model'));
  const plain = join(folder, 'bf16.gguf');
  await ours(source, 'BF16', plain);
  const results: BenchResult[] = [];
  const rtnSpeed = bytes / 1e6 / (await roundToNearest(source));
  for (const recipe of RECIPES) {
    const speed = bytes / 1e6 / (await ours(source, recipe, join(folder, 'ours.gguf')));
    const lines =
      recipe === RECIPES[0]
        ? [['RTN int4 g128', rtnSpeed] as const, [recipe, speed] as const]
        : [[recipe, speed] as const];
    const peers = oracleAvailable() ? await peerSpeeds(plain, recipe, bytes) : [];
    for (const [name, own] of lines) {
      if (peers.length === 0) results.push({ name, ours: own, unit: 'MB/s' });
      for (const { peer, peerName } of peers)
        results.push({ name, ours: own, peer, peerName, unit: 'MB/s', ratio: own / peer });
    }
  }
  await source.close();
  printBench({ title: `Quantizing a ${(bytes / 1e6).toFixed(0)} MB bf16 model, ours on one thread`, results });
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** Seconds to read, decode and round all weights to 4 bits in groups of 128, writing nothing. */
async function roundToNearest(source: ModelSource): Promise<number> {
  const quantizer = rtn();
  const start = performance.now();
  for (const weight of source.checkpoint.tensors.values()) {
    if (weight.shape.length < 2) continue;
    for await (const rows of streamRows(weight)) {
      quantizer.quantize(tensor(decode(rows as PackedTensor<'bf16'>), rows.shape), { name: weight.name });
    }
  }
  return (performance.now() - start) / 1000;
}

async function peerSpeeds(plain: string, recipe: LlamaFileType, bytes: number) {
  const speeds: { peer: number; peerName: string }[] = [];
  for (const threads of [1, 2]) {
    const peer = bytes / 1e6 / (await theirs(plain, recipe, threads));
    speeds.push({ peer, peerName: `llama.cpp ${recipe}, ${threads} thread${threads > 1 ? 's' : ''}` });
  }
  return speeds;
}

async function ours(source: ModelSource, recipe: string, path: string): Promise<number> {
  return (await quantizeModel(source, { recipe: parseRecipe(recipe), output: outputFile(path) })).seconds;
}

async function theirs(source: string, recipe: LlamaFileType, threads: number): Promise<number> {
  const start = performance.now();
  await llamaQuantize(source, join(folder, 'theirs.gguf'), recipe, { threads });
  return (performance.now() - start) / 1000;
}
