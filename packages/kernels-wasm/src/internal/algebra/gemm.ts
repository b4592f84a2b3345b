import type { BatchedGemm } from '../../linear-algebra.js';
import { ALGEBRA } from '../modules/algebra.js';
import { algebraTile, BATCH, BATCH_BYTES, PACKED, SUM_DEPTH, TEMPORARY_BYTES } from './blocking.js';
import type { Strides } from './checks.js';
import { type Matrix, rowMajor } from './matrix.js';
import { multiply, type Product } from './multiply.js';
import { type ElementBytes, type Place, view } from './operands.js';
import type { Steps } from './steps.js';

/** One of several products with more multiplications than this is worth all threads, and so is a single one with fewer. */
const LARGE = 2 ** 21;
const LARGE_ALONE = 2 ** 18;

/** All threads each of the products or, when they are small, every thread some of them. */
export function* batchedProduct(
  place: Place,
  bytes: ElementBytes,
  gemm: BatchedGemm,
  { strideA, strideB, strideC, rowStrideA, rowStrideB, rowStrideC }: Strides,
  [a, b, c]: readonly number[],
): Steps {
  const { m, n, k, count, alpha = 1, beta = 0, transposeA, transposeB } = gemm;
  const first: Product = {
    ...{ m, n, k, alpha, beta },
    a: rowMajor(a, rowStrideA, bytes, transposeA),
    b: rowMajor(b, rowStrideB, bytes, transposeB),
    c: rowMajor(c, rowStrideC, bytes),
  };
  if (m * n * k > (count === 1 ? LARGE_ALONE : LARGE) || Math.max(m, n) > PACKED) {
    for (let i = 0; i < count; i++) {
      yield* multiply(place, bytes, {
        ...first,
        a: moved(first.a, i * strideA * bytes),
        b: moved(first.b, i * strideB * bytes),
        c: moved(first.c, i * strideC * bytes),
      });
    }
  } else yield smallProducts(place, bytes, first, count, [strideA * bytes, strideB * bytes, strideC * bytes]);
}

function moved(matrix: Matrix, by: number): Matrix {
  return { ...matrix, at: matrix.at + by };
}

function smallProducts(
  { machine, arena }: Place,
  bytes: ElementBytes,
  { m, n, k, a, b, c, alpha = 1, beta = 0 }: Product,
  count: number,
  steps: readonly [number, number, number],
): void | Promise<void> {
  const tile = algebraTile(machine.build, bytes);
  const padded = Math.ceil(m / tile.rows) * tile.rows + Math.ceil(n / tile.columns) * tile.columns;
  const threadBytes = Math.ceil((TEMPORARY_BYTES + padded * Math.min(k, SUM_DEPTH) * bytes) / 64) * 64;
  const record = arena.scratch(BATCH_BYTES + threadBytes * machine.threads);
  const words = new Int32Array(arena.bytes.buffer, record, BATCH_BYTES / 4);
  const [stepA, stepB, stepC] = steps;
  const sides = { stepA, rowStepA: a.row, depthStepA: a.column, stepB, columnStepB: b.column, depthStepB: b.row };
  const fields = { m, n, k, ...sides, stepC, rowStepC: c.row };
  for (const [name, value] of Object.entries(fields)) words[BATCH[name as keyof typeof fields]] = value;
  view(arena, record + 4 * BATCH.alpha, { length: 1, bytes })[0] = alpha;
  view(arena, record + 4 * BATCH.beta, { length: 1, bytes })[0] = beta;
  const { job } = machine;
  job.start(arena, machine.compiled(ALGEBRA), bytes === 8 ? 'batch64' : 'batch32');
  job.value(record);
  job.stepped(a.at, stepA);
  job.stepped(b.at, stepB);
  job.stepped(c.at, stepC);
  job.count();
  job.perThread(record + BATCH_BYTES, threadBytes);
  return job.run(count, 100 + (m * n * k * bytes) / 64 + (m + n) * k);
}
