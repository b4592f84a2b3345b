import { ALGEBRA } from '../modules/algebra.js';
import { TRIANGLE } from './blocking.js';
import { type Matrix, part, transposed } from './matrix.js';
import { multiply } from './multiply.js';
import type { ElementBytes, Place } from './operands.js';
import type { Steps } from './steps.js';

/** `T x = alpha b`, or `x T = alpha b` on the right; `x` takes the place of `b`. */
export interface System {
  readonly t: Matrix;
  /** Whether `t` is lower triangular, as it is seen here. */
  readonly lower: boolean;
  readonly right: boolean;
  /** Its columns lie side by side. */
  readonly b: Matrix;
  /** Columns of `b`, or its rows on the right. */
  readonly vectors: number;
  readonly alpha?: number;
}

/** Halves, of which the first is a multiple of what is solved without a product. */
export function middle(start: number, end: number): number {
  return start + Math.ceil((end - start) / 2 / TRIANGLE) * TRIANGLE;
}

/** Solves for the unknowns from `start` to `end`: one half of them, then what they add to the other, then the other. */
export function* solve(place: Place, bytes: ElementBytes, system: System, start: number, end: number): Steps {
  if (end - start <= TRIANGLE) {
    yield substitute(place, bytes, system, start, end);
    return;
  }
  const { t, lower, right, b, vectors, alpha = 1 } = system;
  const split = middle(start, end);
  const halves = [
    [start, split],
    [split, end],
  ] as const;
  const [[from, to], [at, last]] = lower !== right ? halves : [halves[1], halves[0]];
  yield* solve(place, bytes, system, from, to);
  const rest = { k: to - from, alpha: -1, beta: alpha };
  if (right) {
    const sides = { a: part(b, 0, from), b: part(t, from, at), c: part(b, 0, at) };
    yield* multiply(place, bytes, { ...rest, m: vectors, n: last - at, ...sides });
  } else {
    const sides = { a: part(t, at, from), b: part(b, from, 0), c: part(b, at, 0) };
    yield* multiply(place, bytes, { ...rest, m: last - at, n: vectors, ...sides });
  }
  yield* solve(place, bytes, { ...system, alpha: 1 }, at, last);
}

function substitute(
  { machine, arena }: Place,
  bytes: ElementBytes,
  { t, lower, right, b, vectors, alpha = 1 }: System,
  start: number,
  end: number,
): void | Promise<void> {
  // A system on the right is its transpose on the left; an upper triangle is a lower one from its last row up.
  const [matrix, sides] = right ? [transposed(t), transposed(b)] : [t, b];
  const forward = lower !== right;
  const first = forward ? start : end - 1;
  const sign = forward ? 1 : -1;
  const corner = part(matrix, first, first);
  const width = 64 / bytes;
  const { job } = machine;
  job.start(arena, machine.compiled(ALGEBRA), bytes === 8 ? 'substitute64' : 'substitute32');
  job.value(corner.at);
  job.value(sign * corner.row);
  job.value(sign * corner.column);
  job.value(end - start);
  job.stepped(part(sides, first, 0).at, width * sides.column);
  job.value(sign * sides.row);
  job.value(sides.column);
  job.stepped(vectors, -width);
  job.value(alpha);
  job.count();
  const panelBytes = 64 * TRIANGLE;
  job.perThread(arena.scratch(panelBytes * machine.threads), panelBytes);
  return job.run(Math.ceil(vectors / width), (end - start) ** 2);
}
