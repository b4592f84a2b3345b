/**
 * Matrix products and whole models, `defaultBackend` against `plainBackend` in the same run. A product of `rows` rows with
 * an `[out, in]` weight counts as `2 * rows * out * in` operations; tokens/s are of one sequence with a cache. Bookworm is
 * measured where the test models are (HALFTONE_SHARED, or `shared` beside the repository).
 *
 *   pnpm --filter @halftone/transformer bench [--prompt 128] [--decode 64] [--json]
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BenchResult, bestSeconds, numberArgument, printBench } from '@halftone/bench';
import { plainBackend } from '@halftone/kernels-wasm';
import { type KernelBackend, tensor } from '@halftone/tensor';
import { modelUrl } from '@halftone/wren-5m';
import { createModel, defaultBackend, greedy, type ModelSource } from '../src/index.js';
import { openModel } from '../src/node.js';

const FEATURES = 1024;
const GEMM_ROWS = 128;

const promptTokens = numberArgument('--prompt', 128);
const decodeTokens = numberArgument('--decode', 64);
const results: BenchResult[] = [
  compare(`GEMM [${GEMM_ROWS}, ${FEATURES}] x [${FEATURES}, ${FEATURES}]`, 'GFLOP/s', productSpeed(GEMM_ROWS, 3)),
  compare(`GEMV [${FEATURES}] x [${FEATURES}, ${FEATURES}]`, 'GFLOP/s', productSpeed(1, 50)),
];
for (const [name, path] of models()) {
  const source = await openModel(path);
  const ours = await modelSpeed(source, defaultBackend());
  const plain = await modelSpeed(source, plainBackend());
  await source.close();
  const both = (of: 'prompt' | 'decode') => ({ ours: ours[of], plain: plain[of] });
  results.push(
    compare(`${name}, prompt of ${promptTokens}`, 'tokens/s', both('prompt')),
    compare(`${name}, ${decodeTokens} tokens one by one`, 'tokens/s', both('decode')),
  );
}
printBench({ title: 'Transformer forward pass with float32 weights, ours on every thread, the peer on one', results });

function models(): [string, string][] {
  const shared = process.env.HALFTONE_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));
  const bookworm = join(shared, 'models', 'bookworm-29m');
  const wren: [string, string] = ['wren-5m', fileURLToPath(modelUrl)];
  return existsSync(bookworm) ? [wren, ['bookworm-29m', bookworm]] : [wren];
}

function compare(name: string, unit: string, speed: { ours: number; plain: number }): BenchResult {
  return {
    name,
    unit,
    ours: speed.ours,
    peer: speed.plain,
    peerName: 'plainBackend',
    ratio: speed.ours / speed.plain,
  };
}

function productSpeed(rows: number, repeats: number): { ours: number; plain: number } {
  const weight = tensor(noise(FEATURES * FEATURES), [FEATURES, FEATURES]);
  const x = noise(rows * FEATURES);
  const out = new Float32Array(rows * FEATURES);
  const speed = (backend: KernelBackend) => {
    const uploaded = backend.uploadLinear(weight);
    const seconds = bestSeconds(() => void backend.linear(uploaded, x, rows, out), repeats);
    return (2e-9 * rows * FEATURES * FEATURES) / seconds;
  };
  return { ours: speed(defaultBackend()), plain: speed(plainBackend()) };
}

/** Tokens a second after one short pass that compiles the loops. */
async function modelSpeed(source: ModelSource, backend: KernelBackend): Promise<{ prompt: number; decode: number }> {
  const model = await createModel(source, { backend });
  const { vocabSize } = model.config;
  const prompt = Array.from({ length: promptTokens }, (_, i) => (i * 37 + 5) % vocabSize);
  await model.forward(prompt.slice(0, 16), { from: 15 });
  const cache = model.createCache();

  const start = performance.now();
  let { data: logits } = await model.forward(prompt, { cache, from: prompt.length - 1 });
  const middle = performance.now();
  for (let i = 0; i < decodeTokens; i++) logits = (await model.forward([greedy(logits)], { cache })).data;
  const end = performance.now();
  await model.dispose();
  await backend.dispose();
  return { prompt: (1000 * promptTokens) / (middle - start), decode: (1000 * decodeTokens) / (end - middle) };
}

function noise(length: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
