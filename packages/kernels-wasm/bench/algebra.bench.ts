/**
 * Linear algebra on one thread and on two, against plain TypeScript and the float64 code of `@halftone/numerics`.
 * Run: pnpm --filter @halftone/kernels-wasm bench:algebra [--size 1024] [--plain 384] [--json]
 * Plain code does not get faster with size, so that it is timed at a smaller one.
 */
import { type BenchResult, bestSeconds, numberArgument, printBench } from '@halftone/bench';
import * as numerics from '@halftone/numerics';
import { type LinearAlgebra, linearAlgebra, type WasmBuild, wasmRuntime } from '../src/index.js';
import { noise } from '../test/noise.js';

type Floats = Float32Array | Float64Array;
type FloatType = typeof Float32Array | typeof Float64Array;

const SIZE = numberArgument('--size', 1024);
const PLAIN = Math.min(SIZE, numberArgument('--plain', 384));
const HEADS = 64;
const results: BenchResult[] = [];

/** An operation at a size: its flops, and what runs it again and again on the same operands. */
interface Case {
  readonly name: string;
  readonly type: FloatType;
  flops(n: number): number;
  prepare(algebra: LinearAlgebra, n: number, allocate: Allocate): () => unknown;
  /** The same in `@halftone/numerics`. */
  numerics?(n: number): () => unknown;
}

type Allocate = (values: Floats) => Floats;

const CASES: readonly Case[] = [Float32Array, Float64Array].flatMap((type) => {
  const cube = (n: number) => n ** 3;
  const bits = type === Float32Array ? 'f32' : 'f64';
  const random = (length: number) => new type(noise(length));
  const matrix = (n: number) => new type(positiveDefinite(n));
  return [
    {
      ...{ name: `${bits} gemm`, type },
      flops: (n) => 2 * cube(n),
      prepare(algebra, n, allocate) {
        const [a, b, c] = [random(n * n), random(n * n), random(n * n)].map(allocate);
        return () => algebra.gemm({ m: n, n, k: n }, a, b, c);
      },
    },
    {
      ...{ name: `${bits} gemm, ${HEADS} products of size/8`, type },
      flops: (n) => (2 * HEADS * cube(n)) / 512,
      prepare(algebra, n, allocate) {
        const size = n / 8;
        const [a, b, c] = [1, 2, 3].map(() => allocate(random(HEADS * size * size)));
        return () => algebra.batchedGemm({ m: size, n: size, k: size, count: HEADS, transposeB: true }, a, b, c);
      },
    },
    {
      ...{ name: `${bits} solve`, type },
      flops: cube,
      prepare(algebra, n, allocate) {
        const [l, b] = [allocate(matrix(n)), allocate(random(n * n))];
        return () => algebra.solveTriangular({ n, vectors: n }, l, b);
      },
    },
    {
      ...{ name: `${bits} cholesky`, type },
      flops: (n) => cube(n) / 3,
      prepare(algebra, n, allocate) {
        const [a, out] = [allocate(matrix(n)), allocate(matrix(n))];
        return () => algebra.cholesky(a, n, out);
      },
      numerics(n) {
        const a = positiveDefinite(n);
        return () => numerics.cholesky(a, n);
      },
    },
    {
      ...{ name: `${bits} choleskyUpperOfInverse`, type },
      flops: (n) => (2 * cube(n)) / 3,
      prepare(algebra, n, allocate) {
        const [a, out] = [allocate(matrix(n)), allocate(matrix(n))];
        return () => algebra.choleskyUpperOfInverse(a, n, out);
      },
      numerics(n) {
        const a = positiveDefinite(n);
        return () => numerics.choleskyUpperOfInverse(a, n);
      },
    },
    {
      ...{ name: `f32 rows, ${bits} syrk`, type },
      flops: cube,
      prepare(algebra, n, allocate) {
        const [x, g] = [allocate(noise(n * n)), allocate(new type(n * n))];
        return () => algebra.syrk(x, n, n, g);
      },
    },
  ] satisfies Case[];
});

for (const item of CASES) {
  const plain = speed(
    item,
    PLAIN,
    item.prepare(linearAlgebra(), PLAIN, (values) => values),
    3,
  );
  const peer = item.numerics && speed(item, SIZE, item.numerics(SIZE), 2);
  for (const build of ['simd', 'relaxed'] as const) {
    for (const threads of [1, 2]) await measure(item, build, threads, plain, peer);
  }
}
printBench({ title: `Linear algebra in WebAssembly, size ${SIZE}`, results });

async function measure(item: Case, build: WasmBuild, threads: number, plain: number, peer?: number): Promise<void> {
  const runtime = runtimeOf(build, threads);
  if (runtime === undefined) return;
  const allocate = (values: Floats): Floats => {
    const memory = runtime.allocate(values.byteLength / 4);
    const type = values instanceof Float64Array ? Float64Array : Float32Array;
    const copy = new type(memory.buffer as ArrayBuffer, memory.byteOffset, values.length);
    copy.set(values);
    return copy;
  };
  const ours = speed(item, SIZE, item.prepare(linearAlgebra(runtime), SIZE, allocate), SIZE > 1024 ? 4 : 12);
  await runtime.dispose();
  const name = `${item.name}, ${build}, ${threads} threads`;
  const other = peer ?? plain;
  results.push({
    ...{ name, ours, unit: 'GFLOP/s', peer: other, ratio: ours / other },
    peerName: peer === undefined ? `plain TypeScript, size ${PLAIN}` : 'numerics, float64',
  });
}

function runtimeOf(build: WasmBuild, threads: number) {
  try {
    return wasmRuntime({ build, threads });
  } catch {
    return undefined;
  }
}

/** GFLOP/s at best. */
function speed(item: Case, n: number, run: () => unknown, repeats: number): number {
  return item.flops(n) / bestSeconds(run, repeats) / 1e9;
}

/** Noise with a heavy diagonal: its triangles are well-conditioned too. */
function positiveDefinite(n: number): Float64Array {
  const a = new Float64Array(noise(n * n));
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) a[j * n + i] = a[i * n + j];
    a[i * n + i] = n;
  }
  return a;
}
