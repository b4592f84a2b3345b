import { ALGEBRA, type AlgebraKernel } from '../modules/algebra.js';
import { algebraTile, BLOCK_COLUMNS, BLOCK_ROWS, PACKED, SUM_DEPTH, TEMPORARY_BYTES } from './blocking.js';
import { type Matrix, part } from './matrix.js';
import type { ElementBytes, Place } from './operands.js';
import type { Steps } from './steps.js';

/** For `diagonal`: everything is written. */
export const ALL = 2 ** 30;

export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Matrix;
  readonly b: Matrix;
  /** Its columns lie side by side. */
  readonly c: Matrix;
  readonly alpha?: number;
  readonly beta?: number;
  /** Elements with `column <= row + diagonal` are written. */
  readonly diagonal?: number;
}

/**
 * `c = alpha a b + beta c` for positive `m`, `n` and `k`. All threads pack the operands in blocks that the caches hold, then they
 * multiply blocks of `c`. With `accumulate`, `c` is float64 and grows by `a b`, of which 256 terms at a time are summed in float32.
 */
export function* multiply(place: Place, bytes: ElementBytes, product: Product, accumulate = false): Steps {
  const { m, n, k, a, b, c, alpha = 1, beta = 0, diagonal = ALL } = product;
  const tile = algebraTile(place.machine.build, bytes);
  const rows = Math.min(m, PACKED);
  const columns = Math.min(n, PACKED);
  const depth = Math.min(k, SUM_DEPTH);
  const temporaryBytes = TEMPORARY_BYTES * place.machine.threads;
  const packedBytes = Math.ceil(rows / tile.rows) * tile.rows * depth * bytes;
  const panelBytes = Math.ceil(columns / tile.columns) * tile.columns * depth * bytes;
  const temporary = place.arena.scratch(temporaryBytes + packedBytes + panelBytes);
  const packedA = temporary + temporaryBytes;
  const packedB = packedA + packedBytes;
  for (let j = 0; j < n; j += PACKED) {
    const width = Math.min(PACKED, n - j);
    for (let i = 0; i < m; i += PACKED) {
      const height = Math.min(PACKED, m - i);
      if (j > i + height - 1 + diagonal) continue;
      for (let p = 0; p < k; p += SUM_DEPTH) {
        const terms = Math.min(SUM_DEPTH, k - p);
        yield pack(place, bytes, 'packRows', tile.rows, part(a, i, p), height, terms, packedA);
        const right = part(b, p, j);
        const columnsOfB = { at: right.at, row: right.column, column: right.row };
        yield pack(place, bytes, 'packColumns', tile.columns, columnsOfB, width, terms, packedB);
        yield blocks(place, bytes, accumulate, {
          ...{ packedA, packedB, temporary, c: part(c, i, j), height, width, terms, alpha },
          ...{ beta: p === 0 ? beta : 1, diagonal: Math.min(ALL, diagonal + i - j) },
        });
      }
    }
  }
}

/** `x` counts along tiles in rows and along the sum in columns. */
function pack(
  { machine, arena }: Place,
  bytes: ElementBytes,
  kernel: 'packRows' | 'packColumns',
  width: number,
  x: Matrix,
  rows: number,
  depth: number,
  out: number,
): void | Promise<void> {
  const { job } = machine;
  const name: AlgebraKernel = `${kernel}${bytes === 8 ? 64 : 32}`;
  job.start(arena, machine.compiled(ALGEBRA), name);
  job.stepped(x.at, width * x.row);
  job.value(x.row);
  job.value(x.column);
  job.stepped(rows, -width);
  job.value(depth);
  job.stepped(out, width * depth * bytes);
  job.count();
  return job.run(Math.ceil(rows / width), 0.6 * width * depth);
}

interface Blocks {
  readonly packedA: number;
  readonly packedB: number;
  readonly temporary: number;
  readonly c: Matrix;
  readonly height: number;
  readonly width: number;
  readonly terms: number;
  readonly alpha: number;
  readonly beta: number;
  readonly diagonal: number;
}

function blocks(
  { machine, arena }: Place,
  bytes: ElementBytes,
  accumulate: boolean,
  task: Blocks,
): void | Promise<void> {
  const { job } = machine;
  const across = Math.ceil(task.width / BLOCK_COLUMNS);
  const name: AlgebraKernel = accumulate ? 'accumulate' : `multiply${bytes === 8 ? 64 : 32}`;
  job.start(arena, machine.compiled(ALGEBRA), name);
  job.stepped(0, 1);
  job.count();
  job.value(across);
  job.value(task.packedA);
  job.value(task.packedB);
  job.value(task.c.at);
  job.value(task.c.row);
  job.value(task.height);
  job.value(task.width);
  job.value(task.terms);
  if (!accumulate) {
    job.value(task.alpha);
    job.value(task.beta);
  }
  job.value(task.diagonal);
  job.perThread(task.temporary, TEMPORARY_BYTES);
  const products = Math.min(BLOCK_ROWS, task.height) * Math.min(BLOCK_COLUMNS, task.width) * task.terms;
  return job.run(across * Math.ceil(task.height / BLOCK_ROWS), (products * bytes) / 64);
}
