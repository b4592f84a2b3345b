/**
 * Attention against loops as anybody would write them first, over each type of storage, for prompts and for one token at a time.
 * Run: pnpm --filter @halftone/kernels-wasm bench:attention [--layers 4] [--threads 1] [--json]
 * A token goes through so many layers with caches of their own, so that long contexts come from memory rather than caches.
 */
import { type BenchResult, bestSeconds, numberArgument, printBench } from '@halftone/bench';
import type { AttentionShape } from '@halftone/tensor';
import {
  attention,
  type KvEntries,
  type KvSegment,
  type WasmBuild,
  type WasmRuntime,
  wasmRuntime,
} from '../src/index.js';
import { noise } from '../test/noise.js';
import { loopAttention } from './attention-loops.js';

const LAYERS = numberArgument('--layers', 4);
const THREADS = numberArgument('--threads', 1);
const MODELS: readonly (readonly [string, AttentionShape])[] = [
  ['8 heads over 4', { heads: 8, kvHeads: 4, headDim: 64 }],
  ['32 heads over 4', { heads: 32, kvHeads: 4, headDim: 64 }],
];
const STORAGES = ['f32', 'f16', 'int8 token', 'int4 token', 'int8 channel', 'int4 channel'] as const;
type Storage = (typeof STORAGES)[number];
const GROUP_SIZE = 32;

const results: BenchResult[] = [];
for (const build of ['simd', 'relaxed'] as const) if (available(build)) await measure(build);
printBench({ title: `Attention in WebAssembly, ${THREADS} threads`, results });

async function measure(build: WasmBuild): Promise<void> {
  for (const [name, shape] of MODELS) {
    for (const length of [128, 1024, 8192, 32768]) await decode(build, name, shape, length);
    for (const rows of [128, 1000]) await prompt(build, name, shape, rows);
  }
}

/** One token: bytes of keys and values a second, and as a ratio the time of the float32 cache. */
async function decode(build: WasmBuild, name: string, shape: AttentionShape, length: number): Promise<void> {
  const runtime = wasmRuntime({ build, threads: THREADS });
  const { attend } = attention(runtime);
  const query = noise(shape.heads * shape.headDim);
  const out = new Float32Array(query.length);
  const positions = Int32Array.of(length);
  const caches = STORAGES.map((storage) =>
    Array.from({ length: LAYERS }, () => cache(runtime, storage, shape, length)),
  );
  const views = caches.map((layers) => layers.map((segments) => (kvHead: number) => segments[kvHead]));
  const times = caches.map(() => Number.POSITIVE_INFINITY);
  // Taken in turns, so that what else the machine does falls on all.
  for (let repeat = 0; repeat < Math.max(5, 40000 / length); repeat++) {
    views.forEach((layers, i) => {
      const token = () => {
        for (const view of layers) attend(shape, query, positions, view, out);
      };
      times[i] = Math.min(times[i], bestSeconds(token, 2));
    });
  }
  const loop =
    LAYERS * bestSeconds(() => loopAttention(shape, query, positions, views[0][0], out), Math.max(2, 4000 / length));
  STORAGES.forEach((storage, i) => {
    const bytes = LAYERS * shape.kvHeads * length * bytesPerEntry(storage, shape.headDim);
    const label = `${build} ${name}, ${length} entries, ${storage}`;
    results.push({ name: label, ours: bytes / times[i] / 1e9, unit: 'GB/s' });
    const peer = storage === 'f32' ? (['loops', loop] as const) : (['f32', times[0]] as const);
    const ratio = peer[1] / times[i];
    results.push({ name: label, ours: 1 / times[i], unit: 'tokens/s', peer: 1 / peer[1], peerName: peer[0], ratio });
  });
  await runtime.dispose();
}

async function prompt(build: WasmBuild, name: string, shape: AttentionShape, rows: number): Promise<void> {
  const runtime = wasmRuntime({ build, threads: THREADS });
  const { attend } = attention(runtime);
  const query = noise(rows * shape.heads * shape.headDim);
  const out = new Float32Array(query.length);
  const positions = Int32Array.from({ length: rows }, (_, i) => i);
  // Scores and sums of the half of the entries that rows see.
  const operations = 2 * rows * rows * shape.heads * shape.headDim;
  const loops: number[] = [];
  for (const storage of STORAGES) {
    const segments = cache(runtime, storage, shape, rows);
    const view = (kvHead: number) => segments[kvHead];
    const seconds = bestSeconds(() => void attend(shape, query, positions, view, out), rows === 128 ? 40 : 7);
    if (storage === 'f32') loops.push(bestSeconds(() => loopAttention(shape, query, positions, view, out), 2));
    results.push({
      name: `${build} ${name}, ${rows} rows, ${storage}`,
      ours: operations / seconds / 1e9,
      unit: 'GFLOP/s',
      peer: operations / loops[0] / 1e9,
      peerName: 'loops',
      ratio: loops[0] / seconds,
    });
  }
  await runtime.dispose();
}

function cache(
  runtime: WasmRuntime,
  storage: Storage,
  { kvHeads, headDim }: AttentionShape,
  length: number,
): KvSegment[] {
  return Array.from({ length: kvHeads }, () => ({
    length,
    keys: entries(runtime, storage, length, headDim),
    values: entries(runtime, storage, length, headDim),
    positions: Int32Array.from({ length }, (_, i) => i),
  }));
}

function entries(runtime: WasmRuntime, storage: Storage, length: number, headDim: number): KvEntries {
  const count = length * headDim;
  if (storage === 'f32') return filled(runtime, count);
  const bytes = (byteLength: number) => {
    const { buffer, byteOffset } = runtime.allocate(Math.ceil(byteLength / 4));
    return new Uint8Array(buffer, byteOffset, byteLength).fill(0x35);
  };
  if (storage === 'f16') {
    const { buffer, byteOffset } = bytes(2 * count);
    return { type: 'f16', data: new Uint16Array(buffer, byteOffset, count) };
  }
  const [type, grouping] = storage.split(' ') as ['int8' | 'int4', 'token' | 'channel'];
  const scales = filled(runtime, Math.ceil(length / GROUP_SIZE) * headDim);
  return { type, grouping, groupSize: GROUP_SIZE, data: bytes(count / (type === 'int8' ? 1 : 2)), scales };
}

function filled(runtime: WasmRuntime, length: number): Float32Array {
  const values = noise(4096);
  const array = runtime.allocate(length);
  for (let i = 0; i < length; i += 4096) array.set(values.subarray(0, Math.min(4096, length - i)), i);
  return array;
}

/** Of keys and values, scales included. */
function bytesPerEntry(storage: Storage, headDim: number): number {
  const bits = storage === 'f32' ? 32 : storage === 'f16' ? 16 : (storage.startsWith('int8') ? 8 : 4) + 32 / GROUP_SIZE;
  return (2 * headDim * bits) / 8;
}

function available(build: WasmBuild): boolean {
  try {
    void wasmRuntime({ build, threads: 1 }).dispose();
    return true;
  } catch {
    return false;
  }
}
