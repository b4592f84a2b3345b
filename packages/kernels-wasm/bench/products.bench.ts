/**
 * Matrix products of each build that the engine has (relaxed SIMD is there from Node 22).
 * One row: against the memory bandwidth of a WebAssembly thread, with weights of so many megabytes together that they come from
 * memory rather than caches. Many rows: against the plain TypeScript loop, ONNX Runtime Web and TensorFlow.js, which run in
 * processes of their own. Then two threads against one. All that is compared takes turns.
 *
 *   pnpm --filter @halftone/kernels-wasm bench [--megabytes 320] [--without onnx,tfjs] [--json]
 */
import { type BenchResult, bestSecondsInTurn, listArgument, numberArgument, printBench } from '@halftone/bench';
import { type QuantizedTensor, type Tensor, tensor, type UploadedLinear } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { type WasmBackend, type WasmBuild, wasmBackend } from '../src/index.js';
import { noise, quantizedNoise } from '../test/noise.js';
import { type Peer, startPeer } from './peer.js';
import { plainFloatProduct, plainQuantizedProduct } from './plain-products.js';
import { reader } from './read-bandwidth.js';

const SIZE = 4096;
const ROWS = 128;
const FLOAT_SIZE = 1024;
const TYPES = ['Q4_0', 'Q4_K', 'Q8_0', 'Q6_K'] as const;
const TWO_THREADS_GOAL = 1.8;
/** Share of the read bandwidth that products with one row are to reach. */
const BANDWIDTH_GOALS: Record<WasmBuild, Partial<Record<string, number>>> = {
  relaxed: { Q4_0: 0.8, Q8_0: 0.75 },
  simd: { Q4_0: 0.6, Q8_0: 0.75 },
};
/** Ours over theirs on one thread, with relaxed SIMD. */
const PEER_GOALS = { plainQuantized: 40, onnx: 3, tfjs: 1.5 };

/** Copies of one weight, held by one backend. */
interface Contender {
  readonly backend: WasmBackend;
  readonly weights: readonly UploadedLinear[];
}

const bytes = numberArgument('--megabytes', 320) * 1e6;
const left = listArgument('--without', []);
const results: BenchResult[] = [];
const read = await reader(bytes);
const onnx = left.includes('onnx') ? [] : [1, 2].map((threads) => startPeer('./onnx-peer.ts', threads));
const tfjs = left.includes('tfjs') ? undefined : startPeer('./tfjs-peer.ts', 1);
for (const build of (['simd', 'relaxed'] as const).filter(available)) {
  const backends = [1, 2].map((threads) => wasmBackend({ build, threads }));
  await floatProduct(build, backends);
  await oneRow(build, 'f32', backends, tensor(noise(SIZE * SIZE), [SIZE, SIZE]));
  for (const type of TYPES) {
    const weight = quantizedNoise(GGML_SCHEMES[type], [SIZE, SIZE]);
    await oneRow(build, type, backends, weight);
    await manyRows(build, type, backends, weight);
  }
  for (const backend of backends) await backend.dispose();
}
for (const peer of [...onnx, tfjs]) peer?.close();
printBench({ title: 'Matrix products in WebAssembly', results });

async function oneRow(
  build: WasmBuild,
  type: string,
  backends: readonly WasmBackend[],
  weight: Tensor<Float32Array> | QuantizedTensor,
): Promise<void> {
  const contenders = backends.map((backend) => upload(backend, weight, bytes));
  const x = noise(SIZE);
  const out = new Float32Array(SIZE);
  const seconds = await bestSecondsInTurn([read, ...contenders.map((ours) => () => multiply(ours, x, 1, out))], 9);
  const [{ weights }] = contenders;
  const [one, two] = seconds.slice(1).map((time) => (weights.length * weights[0].byteLength) / time / 1e9);
  const bandwidth = bytes / seconds[0] / 1e9;
  const name = `${build} ${type} ${SIZE}x${SIZE}, 1 row`;
  const goal = BANDWIDTH_GOALS[build][type];
  results.push(
    { name, ours: one, unit: 'GB/s', peer: bandwidth, peerName: 'read', ratio: one / bandwidth, goal },
    twoThreads(name, 'GB/s', one, two),
  );
  contenders.forEach(release);
}

async function manyRows(
  build: WasmBuild,
  type: string,
  backends: readonly WasmBackend[],
  weight: QuantizedTensor,
): Promise<void> {
  const contenders = backends.map((backend) => upload(backend, weight, 0));
  const x = noise(ROWS * SIZE);
  const out = new Float32Array(ROWS * SIZE);
  const speed = (seconds: number, rows = ROWS) => (2 * rows * SIZE * SIZE) / seconds / 1e9;
  const runs = contenders.map((ours) => () => multiply(ours, x, ROWS, out));
  // The plain loop does every row alike, and would take seconds for all of them.
  const plainRows = 4;
  if (type === 'Q4_0') runs.push(async () => plainQuantizedProduct(weight, x, plainRows, out));
  const { seconds, peers } = await withPeers(runs, type === 'Q4_0' ? onnx : [], ROWS, 7);
  const [one, two] = seconds.map((time) => speed(time));
  const name = `${build} ${type} ${SIZE}x${SIZE}, ${ROWS} rows`;
  const line = { name, ours: one, unit: 'GOP/s' };
  if (type === 'Q4_0')
    results.push(against(build, line, 'plain loop', speed(seconds[2], plainRows), PEER_GOALS.plainQuantized));
  else results.push(line);
  const [onnxOne, onnxTwo] = peers.map((time) => speed(time));
  if (onnxOne !== undefined) results.push(against(build, line, 'ONNX Runtime Web', onnxOne, PEER_GOALS.onnx));
  results.push(twoThreads(name, line.unit, one, two));
  if (onnxTwo !== undefined) {
    const both = { ...line, name: `${name}, 2 threads`, ours: two };
    results.push(against(build, both, 'ONNX Runtime Web, 2 threads', onnxTwo));
  }
  contenders.forEach(release);
}

async function floatProduct(build: WasmBuild, backends: readonly WasmBackend[]): Promise<void> {
  const size = FLOAT_SIZE;
  const weight = tensor(noise(size * size), [size, size]);
  const x = noise(size * size);
  const out = new Float32Array(size * size);
  const plainRows = 32;
  const contenders = backends.map((backend) => upload(backend, weight, 0));
  const runs = contenders.map((ours) => () => multiply(ours, x, size, out));
  runs.push(async () => plainFloatProduct(weight.data, x, plainRows, size, out));
  const { seconds, peers } = await withPeers(runs, tfjs === undefined ? [] : [tfjs], size, 9);
  const speed = (time: number, rows = size) => (2 * rows * size * size) / time / 1e9;
  const [one, two] = seconds.map((time) => speed(time));
  const name = `${build} f32 ${size}x${size}, ${size} rows`;
  const line = { name, ours: one, unit: 'GFLOP/s' };
  results.push(against(build, line, 'plain loop', speed(seconds[2], plainRows)));
  for (const time of peers) results.push(against(build, line, 'TensorFlow.js', speed(time), PEER_GOALS.tfjs));
  results.push(twoThreads(name, line.unit, one, two));
  contenders.forEach(release);
}

/** Best times of ours and of peers, in seconds; they take turns. */
async function withPeers(
  runs: readonly (() => Promise<void>)[],
  peers: readonly Peer[],
  rows: number,
  turns: number,
): Promise<{ readonly seconds: number[]; readonly peers: number[] }> {
  const times: number[][] = peers.map(() => []);
  const asked = peers.map((peer, i) => async () => void times[i].push(await peer.seconds(rows, 1)));
  const seconds = await bestSecondsInTurn([...runs, ...asked], turns);
  return { seconds: seconds.slice(0, runs.length), peers: times.map((each) => Math.min(...each)) };
}

function against(build: WasmBuild, line: BenchResult, peerName: string, peer: number, goal?: number): BenchResult {
  return { ...line, peer, peerName, ratio: line.ours / peer, ...(build === 'relaxed' && { goal }) };
}

function twoThreads(name: string, unit: string, one: number, two: number): BenchResult {
  const ratio = two / one;
  return {
    name: `${name}, 2 threads`,
    ours: two,
    unit,
    peer: one,
    peerName: '1 thread',
    ratio,
    goal: TWO_THREADS_GOAL,
  };
}

/** Copies of a weight until they take so many bytes; one at least. */
function upload(backend: WasmBackend, weight: Tensor<Float32Array> | QuantizedTensor, totalBytes: number): Contender {
  const weights = [backend.uploadLinear(weight)];
  while (weights.length * weights[0].byteLength < totalBytes) weights.push(backend.uploadLinear(weight));
  return { backend, weights };
}

async function multiply({ backend, weights }: Contender, x: Float32Array, rows: number, out: Float32Array) {
  for (const weight of weights) await backend.linear(weight, x, rows, out);
}

function release({ backend, weights }: Contender): void {
  for (const weight of weights) backend.release(weight);
}

function available(build: WasmBuild): boolean {
  try {
    void wasmBackend({ build, threads: 1 }).dispose();
    return true;
  } catch {
    return false;
  }
}
