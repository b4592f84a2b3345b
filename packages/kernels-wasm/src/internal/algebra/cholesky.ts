import { notPositiveDefinite } from '../../plain/cholesky.js';
import { ALGEBRA } from '../modules/algebra.js';
import { SUM_DEPTH, TRIANGLE } from './blocking.js';
import { type Matrix, part, transposed } from './matrix.js';
import { multiply } from './multiply.js';
import { type ElementBytes, type Place, view } from './operands.js';
import type { Steps } from './steps.js';
import { middle, solve } from './triangular.js';

/** Puts the lower Cholesky factor of rows and columns `start` to `end` in their place. The upper triangle is not touched. */
export function* factor(place: Place, bytes: ElementBytes, a: Matrix, start: number, end: number): Steps {
  if (end - start <= TRIANGLE) return factorSmall(place, bytes, part(a, start, start), start, end);
  const split = middle(start, end);
  const rest = end - split;
  yield* factor(place, bytes, a, start, split);
  const below = part(a, split, start);
  const t = transposed(part(a, start, start));
  yield* solve(place, bytes, { t, lower: false, right: true, b: below, vectors: rest }, 0, split - start);
  yield* multiply(place, bytes, {
    ...{ m: rest, n: rest, k: split - start, alpha: -1, beta: 1, diagonal: 0 },
    ...{ a: below, b: transposed(below), c: part(a, split, split) },
  });
  yield* factor(place, bytes, a, split, end);
}

function factorSmall({ machine, arena }: Place, bytes: ElementBytes, a: Matrix, start: number, end: number): void {
  const index = machine.kernels(arena, ALGEBRA)[bytes === 8 ? 'factor64' : 'factor32'](a.at, a.row, end - start);
  if (index < 0) return;
  const { at } = part(a, index, index);
  const [value] = view(arena, at, { length: 1, bytes });
  throw notPositiveDefinite('cholesky', start + index, value);
}

/**
 * Puts the inverse of a lower triangle, rows and columns `start` to `end`, in its place. `corner` is the address of a
 * `[64, 64]` matrix to work in.
 */
export function* invert(
  place: Place,
  bytes: ElementBytes,
  l: Matrix,
  corner: number,
  start: number,
  end: number,
): Steps {
  const size = end - start;
  if (size <= TRIANGLE) {
    yield* invertSmall(place, bytes, part(l, start, start), corner, size);
    return;
  }
  const split = middle(start, end);
  const b = part(l, split, start);
  const [left, rest] = [split - start, end - split];
  yield* solve(
    place,
    bytes,
    { t: part(l, split, split), lower: true, right: false, b, vectors: left, alpha: -1 },
    0,
    rest,
  );
  yield* solve(place, bytes, { t: part(l, start, start), lower: true, right: true, b, vectors: rest }, 0, left);
  yield* invert(place, bytes, l, corner, start, split);
  yield* invert(place, bytes, l, corner, split, end);
}

function* invertSmall(place: Place, bytes: ElementBytes, l: Matrix, corner: number, size: number): Steps {
  const inverse = view(place.arena, corner, { length: size * size, bytes }).fill(0);
  for (let i = 0; i < size; i++) inverse[i * size + i] = 1;
  const b = { at: corner, row: size * bytes, column: bytes };
  yield* solve(place, bytes, { t: l, lower: true, right: false, b, vectors: size }, 0, size);
  for (let i = 0; i < size; i++) {
    const row = view(place.arena, l.at + i * l.row, { length: i + 1, bytes });
    row.set(inverse.subarray(i * size, i * size + i + 1));
  }
}

/** The lower triangle of `c = mᵀ m` for a lower triangular `m` with zeros above. */
export function* gramOfLower(place: Place, bytes: ElementBytes, m: Matrix, c: Matrix, n: number): Steps {
  for (let p = 0; p < n; p += SUM_DEPTH) {
    // These rows of m end at their diagonal.
    const size = Math.min(n, p + SUM_DEPTH);
    const rows = part(m, p, 0);
    const product = { m: size, n: size, k: size - p, a: transposed(rows), b: rows, c, beta: 1, diagonal: 0 };
    yield* multiply(place, bytes, product);
  }
}
