/**
 * What models compute beside products and attention, on arrays in kernel memory, against the same in TypeScript.
 * Run: pnpm --filter @halftone/kernels-wasm bench:block [--features 4096] [--json]
 * Goals are the ratios of earlier experiments.
 */
import { type BenchResult, bestSeconds, numberArgument, printBench } from '@halftone/bench';
import { type Operations, plainOperations, wasmOperations, wasmRuntime } from '../src/index.js';
import { noise } from '../test/noise.js';

const FEATURES = numberArgument('--features', 4096);
const ROWS = 128;
const HEADS = FEATURES / 128;
const VOCABULARY = 131_072;
const GOALS: Readonly<Record<string, number>> = { softmax: 6.7, 'Walsh-Hadamard': 10, RMSNorm: 6.7 };
const results: BenchResult[] = [];

for (const build of ['simd', 'relaxed'] as const) {
  for (const threads of [1, 2]) {
    const runtime = start(build, threads);
    if (runtime === undefined) continue;
    const place = (values: Float32Array) => {
      const array = runtime.allocate(values.length);
      array.set(values);
      return array;
    };
    const fast = cases(wasmOperations(runtime), place);
    const plain = cases(plainOperations(), place);
    for (const [i, [name, run, largest]] of fast.entries()) {
      for (const rows of largest === 1 ? [1] : [1, ROWS]) {
        if (rows === 1 && threads > 1) continue;
        const [ours, peer] = best(
          () => run(rows),
          () => plain[i][1](rows),
          rows,
        );
        const label = `${build}${threads > 1 ? `, ${threads} threads` : ''}, ${name}, ${rows} row${rows > 1 ? 's' : ''}`;
        const goal = rows === 1 ? GOALS[name] : undefined;
        results.push({ name: label, ours, unit: 'us', peer, peerName: 'plain', ratio: peer / ours, goal });
      }
    }
    await runtime.dispose();
  }
}
printBench({ title: `Operations on rows of ${FEATURES} values`, results });

type Case = readonly [name: string, run: (rows: number) => unknown, mostRows?: 1];

function cases(operations: Operations, place: (values: Float32Array) => Float32Array): readonly Case[] {
  const count = ROWS * FEATURES;
  const [x, y, gain] = [place(noise(count)), place(noise(count, 2)), place(noise(FEATURES, 3))];
  const [out, turned] = [place(x), place(x)];
  const tables = [place(noise(ROWS * 64, 4)), place(noise(ROWS * 64, 5))] as const;
  const indices = Array.from({ length: ROWS + 1 }, (_, rows) => Int32Array.from({ length: rows }, (_, row) => row));
  const logits = place(noise(VOCABULARY));
  const [values, places] = [place(noise(1000)), new Int32Array(1000)];
  const [codes, scales] = [new Int8Array(count), place(noise(count / 32))];
  return [
    ['RMSNorm', (rows) => operations.rmsNorm(x, rows, FEATURES, gain, 1e-5, out)],
    ['LayerNorm', (rows) => operations.layerNorm(x, rows, FEATURES, gain, gain, 1e-5, out)],
    ['softmax', (rows) => operations.softmax(x, rows, FEATURES, out)],
    ['rotate', (rows) => operations.rotate(turned, indices[rows], HEADS, 64, ...tables)],
    ['rotate interleaved', (rows) => operations.rotateInterleaved(turned, indices[rows], HEADS, 64, ...tables)],
    ['silu with factor', (rows) => operations.activate('silu', refreshed(out, x, rows), rows * FEATURES, y)],
    ['gelu', (rows) => operations.activate('gelu', refreshed(out, x, rows), rows * FEATURES)],
    ['gelu_tanh', (rows) => operations.activate('gelu_tanh', refreshed(out, x, rows), rows * FEATURES)],
    ['add', (rows) => operations.add(out, y, rows * FEATURES)],
    ['Walsh-Hadamard', (rows) => operations.walshHadamard(out, rows, FEATURES)],
    ['Walsh-Hadamard of 3584', () => operations.walshHadamard(out, 1, 3584), 1],
    ['quantize', (rows) => operations.quantize(x, rows, FEATURES, codes, scales)],
    [`argmax of ${VOCABULARY}`, () => operations.argmax(logits), 1],
    [`logSumExp of ${VOCABULARY}`, () => operations.logSumExp(logits), 1],
    [`top 40 of ${VOCABULARY}`, () => operations.topK(logits, 40, values, places), 1],
    [`top 1000 of ${VOCABULARY}`, () => operations.topK(logits, 1000, values, places), 1],
  ];
}

/** Activations of activations would become 0. The copy is part of the time. */
function refreshed(out: Float32Array, x: Float32Array, rows: number): Float32Array {
  out.set(rows === ROWS ? x : x.subarray(0, rows * FEATURES));
  return out;
}

/** Best microseconds of both, by turns. */
function best(ours: () => unknown, peer: () => unknown, rows: number): readonly [number, number] {
  const repeats = rows > 1 ? 1 : 50;
  const microseconds = (run: () => unknown, times: number) =>
    (bestSeconds(() => {
      for (let i = 0; i < times; i++) run();
    }, 5) /
      times) *
    1e6;
  let [a, b] = [Infinity, Infinity];
  for (let turn = 0; turn < 4; turn++) {
    a = Math.min(a, microseconds(ours, repeats));
    b = Math.min(b, microseconds(peer, Math.ceil(repeats / 10)));
  }
  return [a, b];
}

function start(build: 'simd' | 'relaxed', threads: number) {
  try {
    return wasmRuntime({ build, threads });
  } catch {
    return undefined;
  }
}
