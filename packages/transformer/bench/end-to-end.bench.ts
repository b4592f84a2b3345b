/**
 * Whole models, ours against native llama.cpp and against wllama in headless Chromium, on the same GGUF files, with one thread
 * and with two: tokens a second of a prompt (logits of the last token alone) and of greedy decoding. The builds of our kernels
 * are those that the engine has: relaxed SIMD is there from Node 22. llama.cpp runs in a process of its own. wllama is given
 * fewer tokens of the large model, where it makes about one a second; lines with other numbers of tokens say so.
 *
 *   pnpm --filter @halftone/transformer bench:end-to-end [--models bookworm,random] [--threads 1,2] [--builds simd,relaxed]
 *     [--without wllama,native] [--prompt 128] [--decode 64] [--json]
 *
 * Files of the models stay in the folder halftone-bench of the system's temporary folder, about 700 MB.
 */
import { type BenchResult, listArgument, numberArgument, printBench } from '@halftone/bench';
import { type WasmBuild, wasmBackend } from '@halftone/kernels-wasm';
import { llamaSpeed, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { createModel, greedy } from '../src/index.js';
import { openModel } from '../src/node.js';
import { quantizedBookworm, randomLlama } from './bench-models.js';
import { chromiumAvailable, wllamaSpeed } from './wllama.js';

/** Tokens a second. */
interface Speed {
  readonly prompt: number;
  readonly decode: number;
}

interface BenchModel {
  readonly name: string;
  readonly path: string;
  /** Whole rounds over all implementations, and runs in each. The best run counts. */
  readonly rounds: number;
  readonly repeats: number;
  readonly wllama: Tokens & { readonly rounds: number };
  /** Ours over theirs, with relaxed SIMD. */
  readonly goals: { readonly native: Speed; readonly wllama: Speed };
}

interface Tokens {
  readonly promptTokens: number;
  readonly decodeTokens: number;
}

/** What SIMD128 has to reach of a goal for relaxed SIMD. */
const GOAL_SHARE: Record<WasmBuild, number> = { relaxed: 1, simd: 2 / 3 };

const tokens: Tokens = { promptTokens: numberArgument('--prompt', 128), decodeTokens: numberArgument('--decode', 64) };
const left = listArgument('--without', []);
const threadCounts = listArgument('--threads', ['1', '2']).map(Number);
const builds = (listArgument('--builds', ['simd', 'relaxed']) as WasmBuild[]).filter(buildAvailable);
const withNative = !left.includes('native') && noteUnless(oracleAvailable(), 'llama.cpp is not installed');
const withWllama = !left.includes('wllama') && noteUnless(chromiumAvailable(), 'there is no Chromium for wllama');

const results: BenchResult[] = [];
for (const model of await models(listArgument('--models', ['bookworm', 'random']))) {
  for (const threads of threadCounts) results.push(...(await compare(model, threads)));
}
printBench({ title: 'Whole models from GGUF files against llama.cpp, native and in WebAssembly', results });

async function models(names: readonly string[]): Promise<BenchModel[]> {
  const found: BenchModel[] = [];
  const half = { prompt: 0.5, decode: 0.5 };
  for (const [recipe, factor] of [['Q4_0', 8] as const, ['Q4_K_M', 3] as const]) {
    const path = names.includes('bookworm') ? await quantizedBookworm(recipe) : undefined;
    if (path === undefined) continue;
    const goals = { native: half, wllama: { prompt: factor, decode: factor } };
    const wllama = { ...tokens, rounds: 2 };
    found.push({ name: `bookworm-29m ${recipe}`, path, rounds: 2, repeats: 3, wllama, goals });
  }
  if (names.includes('random')) {
    const goals = { native: { prompt: 0.5, decode: 0.7 }, wllama: { prompt: 8, decode: 12 } };
    const wllama = { promptTokens: 16, decodeTokens: 8, rounds: 1 };
    found.push({ name: 'random 1.1 B Q4_0', path: await randomLlama(), rounds: 2, repeats: 1, wllama, goals });
  }
  return found;
}

/** Every implementation in turn, in several rounds, so that a slow moment of the machine hits all of them. */
async function compare(model: BenchModel, threads: number): Promise<BenchResult[]> {
  const ours = new Map<WasmBuild, Speed>();
  let native: Speed | undefined;
  let wllama: Speed | undefined;
  for (let round = 0; round < model.rounds; round++) {
    for (const build of builds) ours.set(build, best(ours.get(build), await ourSpeed(model, build, threads)));
    if (withNative) native = best(native, await nativeSpeed(model, threads));
    if (withWllama && round < model.wllama.rounds)
      wllama = best(wllama, await wllamaSpeed(model.path, { ...model.wllama, threads, repeats: model.repeats }));
  }
  const lines: BenchResult[] = [];
  for (const phase of ['prompt', 'decode'] as const) {
    for (const [build, speed] of ours) {
      const count = phase === 'prompt' ? `prompt of ${tokens.promptTokens}` : `${tokens.decodeTokens} one by one`;
      const name = `${model.name}, ${threads} thread${threads > 1 ? 's' : ''}, ${build}, ${count}`;
      const line = { name, ours: speed[phase], unit: 'tokens/s' };
      const against = (peerName: string, peer: Speed, goal: Speed) => ({
        ...line,
        peer: peer[phase],
        peerName,
        ratio: speed[phase] / peer[phase],
        goal: Number((goal[phase] * GOAL_SHARE[build]).toFixed(2)),
      });
      if (native !== undefined) lines.push(against('llama.cpp', native, model.goals.native));
      if (wllama !== undefined) lines.push(against(wllamaName(model, phase), wllama, model.goals.wllama));
      if (native === undefined && wllama === undefined) lines.push(line);
    }
  }
  return lines;
}

function wllamaName({ wllama }: BenchModel, phase: keyof Speed): string {
  const count = wllama[`${phase}Tokens`];
  return count === tokens[`${phase}Tokens`] ? 'wllama' : `wllama (${count} tokens)`;
}

async function ourSpeed({ path, repeats }: BenchModel, build: WasmBuild, threads: number): Promise<Speed> {
  const backend = wasmBackend({ build, threads });
  const source = await openModel(path);
  const model = await createModel(source, { backend });
  const { promptTokens, decodeTokens } = tokens;
  const { vocabSize } = model.config;
  const prompt = Int32Array.from({ length: promptTokens }, (_, i) => (i * 37 + 5) % vocabSize);
  const out = new Float32Array(vocabSize);
  const token = new Int32Array(1);
  let speed: Speed | undefined;
  try {
    for (let run = -1; run < repeats; run++) {
      const cache = model.createCache({ capacity: promptTokens + decodeTokens });
      const start = performance.now();
      await model.forward(prompt, { cache, from: promptTokens - 1, out });
      const middle = performance.now();
      for (let i = 0; i < decodeTokens; i++) {
        token[0] = greedy(out);
        await model.forward(token, { cache, out });
      }
      const end = performance.now();
      const seconds = { prompt: (middle - start) / 1000, decode: (end - middle) / 1000 };
      if (run >= 0) {
        speed = best(speed, { prompt: promptTokens / seconds.prompt, decode: decodeTokens / seconds.decode });
        continue;
      }
      // The first run compiles the loops and starts worker threads, which report when this one is idle.
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    await model.dispose();
    await source.close();
    await backend.dispose();
  }
  return speed as Speed;
}

async function nativeSpeed({ path, repeats }: BenchModel, threads: number): Promise<Speed> {
  const speed = await llamaSpeed(path, { ...tokens, threads, repeats });
  return { prompt: speed.promptTokensPerSecond, decode: speed.decodeTokensPerSecond };
}

function best(a: Speed | undefined, b: Speed): Speed {
  return { prompt: Math.max(a?.prompt ?? 0, b.prompt), decode: Math.max(a?.decode ?? 0, b.decode) };
}

function buildAvailable(build: WasmBuild): boolean {
  try {
    void wasmBackend({ build, threads: 1 }).dispose();
    return true;
  } catch {
    return false;
  }
}

function noteUnless(available: boolean, reason: string): boolean {
  if (!available) process.stderr.write(`${reason}: left out.\n`);
  return available;
}
