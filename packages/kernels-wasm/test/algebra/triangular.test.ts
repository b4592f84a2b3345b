import { afterAll, describe, expect, it } from 'vitest';
import type { TriangularSystem } from '../../src/index.js';
import type { FloatArray } from '../../src/internal/algebra/operands.js';
import { bits, EPSILON, type FloatArrayType, instances, placed, plain, random, SIZES, TYPES } from './instances.js';

const all = instances();
afterAll(() => Promise.all(all.map(({ runtime }) => runtime.dispose())));

const KINDS = (['left', 'right'] as const).flatMap((side) =>
  (['lower', 'upper'] as const).flatMap((triangle) =>
    [false, true].map((transpose) => ({ side, triangle, transpose })),
  ),
);
const SHAPES = [...SIZES.map((n, i) => [n, SIZES[(i + 6) % SIZES.length]]), [200, 40]];

/** A triangle that is well away from singular, with NaN where it must not be read. */
function triangular(type: FloatArrayType, n: number, triangle: 'lower' | 'upper'): FloatArray {
  const t = random(type, n * n, 8);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (i === j) t[i * n + j] = 1 + Math.abs(t[i * n + j]);
      else if (j < i !== (triangle === 'lower')) t[i * n + j] = Number.NaN;
      else t[i * n + j] /= Math.sqrt(n);
    }
  }
  return t;
}

/** `(|op(t) x - alpha b|) / (|t| |x|)` at its largest, in units of `n` roundings. */
function residual(system: TriangularSystem, t: FloatArray, b: FloatArray, x: FloatArray): number {
  const { n, vectors, side, triangle, transpose, alpha = 1 } = system;
  let worst = 0;
  for (let v = 0; v < vectors; v++) {
    const at = (i: number) => (side === 'left' ? i * vectors + v : v * n + i);
    for (let i = 0; i < n; i++) {
      let sum = -alpha * b[at(i)];
      let size = Math.abs(sum);
      for (let k = 0; k < n; k++) {
        const [row, column] = transpose === (side === 'left') ? [k, i] : [i, k];
        if (triangle === 'lower' ? column > row : column < row) continue;
        const term = t[row * n + column] * x[at(k)];
        sum += term;
        size += Math.abs(term);
      }
      worst = Math.max(worst, Math.abs(sum) / size);
    }
  }
  return worst / (n * EPSILON[x.BYTES_PER_ELEMENT as 4 | 8]);
}

describe.each(TYPES)('solveTriangular of %o', (type) => {
  it.each(KINDS)('leaves a residual of rounding errors: %o', (kind) => {
    for (const [n, vectors] of SHAPES) {
      const t = triangular(type, n, kind.triangle);
      const b = random(type, n * vectors, 9);
      const system = { ...kind, n, vectors, alpha: -0.5 };
      const results = new Map<string, Buffer>();
      for (const { algebra, runtime } of all) {
        const x = b.slice() as FloatArray;
        algebra.solveTriangular(system, t, x);
        expect(residual(system, t, b, x)).toBeLessThan(2);
        const first = results.get(runtime.build);
        if (first === undefined) results.set(runtime.build, bits(x));
        else expect(bits(x).equals(first)).toBe(true);
      }
      const x = b.slice() as FloatArray;
      plain.solveTriangular(system, t, x);
      expect(residual(system, t, b, x)).toBeLessThan(2);
    }
  });

  it('keeps NaN in its vector', () => {
    const [n, vectors] = [70, 37];
    const t = triangular(type, n, 'lower');
    for (const { algebra, runtime } of all) {
      const b = placed(runtime, random(type, n * vectors));
      b[3 * vectors + 5] = Number.NaN;
      algebra.solveTriangular({ n, vectors }, placed(runtime, t), b);
      b.forEach((value, at) => {
        expect(Number.isNaN(value)).toBe(at % vectors === 5 && at >= 3 * vectors);
      });
    }
  });
});

it('refuses sizes and types that do not fit, and overlaps', () => {
  const f = (length: number) => new Float32Array(length);
  for (const { algebra } of [...all, { algebra: plain }]) {
    const refused = (code: string, run: () => unknown) => expect(run).toThrow(expect.objectContaining({ code }));
    refused('SHAPE', () => algebra.solveTriangular({ n: 2, vectors: 3 }, f(5), f(6)));
    refused('SHAPE', () => algebra.solveTriangular({ n: 2, vectors: 3 }, f(4), f(5)));
    refused('SHAPE', () => algebra.solveTriangular({ n: 2, vectors: -3 }, f(4), f(6)));
    refused('DTYPE', () => algebra.solveTriangular({ n: 2, vectors: 3 }, f(4), new Float64Array(6)));
    const buffer = f(8);
    refused('RANGE', () => algebra.solveTriangular({ n: 2, vectors: 2 }, buffer.subarray(0, 4), buffer.subarray(2, 6)));
    expect(algebra.solveTriangular({ n: 0, vectors: 3 }, f(0), f(0))).toBeUndefined();
  }
});
