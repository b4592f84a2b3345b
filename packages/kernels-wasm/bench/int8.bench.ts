/**
 * 8-bit activations with one scale a row (W8A8, W4A8) against blocks of 32 (Q8_0, Q4_0), float32 and the plain loop, on one thread.
 * Run: node --conditions=halftone-source --import tsx bench/int8.bench.ts [--size 4096] [--repeats 15] [--json]
 */
import { type BenchResult, numberArgument, printBench } from '@halftone/bench';
import { type Granularity, type QuantizedTensor, type Scheme, tensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { int8Product, wasmBackend, wasmRuntime } from '../src/index.js';
import { noise, quantizedNoise } from '../test/noise.js';

const SIZE = numberArgument('--size', 4096);
const REPEATS = numberArgument('--repeats', 15);
const ROWS = [1, 8, 128];
const AXIS: Granularity = { type: 'axis', axis: 0 };
const results: BenchResult[] = [];

const x = noise(128 * SIZE);
const out = new Float32Array(128 * SIZE);

for (const build of ['simd', 'relaxed'] as const) {
  if (available(build)) await measure(build);
}
printBench({ title: `Products of 8-bit activations, ${SIZE}x${SIZE}, one thread`, results });

async function measure(build: 'simd' | 'relaxed'): Promise<void> {
  const runtime = wasmRuntime({ build, threads: 1 });
  const backend = wasmBackend({ build, threads: 1 });
  const product = int8Product(runtime);
  const rowScaled = (q: QuantizedTensor) => {
    const weight = product.upload(q);
    return (rows: number) => {
      const { codes, scales } = product.quantizeRows(x, rows, SIZE);
      return () => product.multiply(weight, codes, scales, rows, out);
    };
  };
  const blocks = (weight: QuantizedTensor | ReturnType<typeof tensor<Float32Array>>) => {
    const uploaded = backend.uploadLinear(weight);
    return (rows: number) => () => backend.linear(uploaded, x, rows, out);
  };
  const w4 = (granularity: Granularity) => quantizedNoise(scheme(4, granularity), [SIZE, SIZE]);
  const ours = {
    W8A8: [rowScaled(quantizedNoise(scheme(8, AXIS), [SIZE, SIZE])), 'Q8_0'],
    W4A8: [rowScaled(w4(AXIS)), 'Q4_0'],
    'W4A8, groups of 128': [rowScaled(w4(group(128))), 'Q4_0'],
    'W4A8, groups of 64': [rowScaled(w4(group(64))), 'Q4_0'],
    'W4A8, groups of 32': [rowScaled(w4(group(32))), 'Q4_0'],
  } as const;
  const peers = {
    Q8_0: blocks(quantizedNoise(GGML_SCHEMES.Q8_0, [SIZE, SIZE])),
    Q4_0: blocks(quantizedNoise(GGML_SCHEMES.Q4_0, [SIZE, SIZE])),
    f32: blocks(tensor(noise(SIZE * SIZE), [SIZE, SIZE])),
  };
  for (const rows of ROWS) {
    const runs = new Map<string, () => unknown>();
    for (const [name, [make]] of Object.entries(ours)) runs.set(name, make(rows));
    for (const [name, make] of Object.entries(peers)) runs.set(name, make(rows));
    const seconds = bestOfEach(runs, rows === 128 ? Math.ceil(REPEATS / 3) : REPEATS);
    const speed = (name: string) => (2 * rows * SIZE * SIZE) / (seconds.get(name) as number) / 1e9;
    for (const [name, [, peer]] of Object.entries(ours)) {
      results.push(row(`${build} ${name}, ${count(rows)}`, speed(name), speed(peer), peer));
    }
    results.push(row(`${build} W8A8, ${count(rows)}`, speed('W8A8'), speed('f32'), 'f32'));
    if (rows === 1) results.push(row(`${build} W8A8, 1 row`, speed('W8A8'), plainSpeed(), 'plain loop'));
  }
  await Promise.all([runtime.dispose(), backend.dispose()]);
}

/** In turns, so that what else the machine does meets all alike. */
function bestOfEach(runs: ReadonlyMap<string, () => unknown>, repeats: number): Map<string, number> {
  const best = new Map<string, number>();
  for (let repeat = 0; repeat <= repeats; repeat++) {
    for (const [name, run] of runs) {
      const start = performance.now();
      run();
      const seconds = (performance.now() - start) / 1e3;
      best.set(name, Math.min(seconds, best.get(name) ?? Infinity));
    }
  }
  return best;
}

function plainSpeed(): number {
  const codes = new Int8Array(SIZE * SIZE).fill(3);
  const activations = new Int8Array(SIZE).fill(5);
  const plain = () => {
    for (let o = 0; o < SIZE; o++) {
      let sum = 0;
      for (let i = 0; i < SIZE; i++) sum += codes[o * SIZE + i] * activations[i];
      out[o] = sum;
    }
  };
  const seconds = bestOfEach(new Map([['plain', plain]]), 5).get('plain') as number;
  return (2 * SIZE * SIZE) / seconds / 1e9;
}

function row(name: string, ours: number, peer: number, peerName: string): BenchResult {
  return { name, ours, unit: 'GOP/s', peer, peerName, ratio: ours / peer };
}

function count(rows: number): string {
  return rows === 1 ? '1 row' : `${rows} rows`;
}

function scheme(bits: number, granularity: Granularity): Scheme {
  return { name: 'affine', version: 1, grid: { type: 'affine', bits, signed: true, symmetric: true }, granularity };
}

function group(size: number): Granularity {
  return { type: 'group', axis: 1, size };
}

function available(build: 'simd' | 'relaxed'): boolean {
  try {
    wasmBackend({ build }).dispose();
    return true;
  } catch {
    return false;
  }
}
