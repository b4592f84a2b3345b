import { afterAll, describe, expect, it } from 'vitest';
import type { FloatArray } from '../../src/internal/algebra/operands.js';
import { bits, EPSILON, instances, largestRatio, placed, plain, random, SIZES } from './instances.js';

const all = instances();
afterAll(() => Promise.all(all.map(({ runtime }) => runtime.dispose())));

const SHAPES = [...SIZES.map((n, i) => [SIZES[(i + 4) % SIZES.length], n]), [600, 70], [5, 300], [3, 2310]];
const TYPES = [
  [Float32Array, Float32Array],
  [Float32Array, Float64Array],
  [Float64Array, Float64Array],
] as const;

describe.each(TYPES)('syrk of %o into %o', (typeX, typeG) => {
  it('adds the product, the same in both triangles, for any number of threads', () => {
    for (const [rows, n] of SHAPES) {
      const x = random(typeX, rows * n, 5);
      const g = symmetric(random(typeG, n * n, 6), n);
      const expected = new Float64Array(g);
      plain.syrk(new Float64Array(x), rows, n, expected);
      const results = new Map<string, Buffer>();
      for (const { algebra, runtime } of all) {
        const out = g.slice() as FloatArray;
        algebra.syrk(x, rows, n, out);
        // Sums of products of magnitudes are at most rows / 4, and what was there at most 1 / 2.
        const unit =
          Math.min(rows, 256) * EPSILON[x.BYTES_PER_ELEMENT as 4 | 8] + rows * EPSILON[g.BYTES_PER_ELEMENT as 4 | 8];
        expect(largestRatio(out, expected, () => unit * (rows / 4 + 1))).toBeLessThanOrEqual(1);
        expect(bits(symmetric(out.slice() as FloatArray, n)).equals(bits(out))).toBe(true);
        const first = results.get(runtime.build);
        if (first === undefined) results.set(runtime.build, bits(out));
        else expect(bits(out).equals(first)).toBe(true);
      }
    }
  });

  it('leaves the upper triangle alone, and mirrors with the last rows or with none', () => {
    const [rows, n] = [70, 75];
    const x = random(typeX, rows * n, 5);
    for (const { algebra, runtime } of all) {
      for (const place of [(array: FloatArray) => array, (array: FloatArray) => placed(runtime, array)]) {
        const both = place(new typeG(n * n));
        algebra.syrk(place(x), rows, n, both);
        const lower = place(new typeG(n * n));
        for (let i = 0; i < n; i++) lower.fill(Number.NaN, i * n + i + 1, (i + 1) * n);
        algebra.syrk(x, rows, n, lower, { triangle: 'lower' });
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < n; j++) expect(lower[i * n + j]).toBe(j > i ? Number.NaN : both[i * n + j]);
        }
        algebra.syrk(new typeX(0), 0, n, lower);
        expect(bits(lower).equals(bits(both))).toBe(true);
      }
    }
  });

  it('keeps NaN in its row and column', () => {
    const [rows, n] = [9, 20];
    const x = random(typeX, rows * n, 5);
    x[4 * n + 6] = Number.NaN;
    for (const { algebra } of all) {
      const g = new typeG(n * n);
      algebra.syrk(x, rows, n, g);
      g.forEach((value, at) => {
        expect(Number.isNaN(value)).toBe(at % n === 6 || Math.floor(at / n) === 6);
      });
    }
  });
});

it('sums many rows better in float64 than in float32', () => {
  const [rows, n] = [20_000, 9];
  const x = random(Float32Array, rows * n, 5).map((value) => value + 1) as Float32Array;
  const exact = new Float64Array(n * n);
  plain.syrk(new Float64Array(x), rows, n, exact);
  for (const { algebra } of all) {
    const [g32, g64] = [new Float32Array(n * n), new Float64Array(n * n)];
    algebra.syrk(x, rows, n, g32);
    algebra.syrk(x, rows, n, g64);
    const error = (g: FloatArray) => Math.hypot(...exact.map((value, i) => g[i] - value));
    expect(error(g64)).toBeLessThan(error(g32));
  }
});

it('refuses sizes and types that do not fit, and overlaps', () => {
  for (const algebra of [...all.map((instance) => instance.algebra), plain]) {
    const f = (length: number) => new Float32Array(length);
    const refused = (code: string, run: () => unknown) => expect(run).toThrow(expect.objectContaining({ code }));
    refused('SHAPE', () => algebra.syrk(f(6), 2, 3, f(8)));
    refused('SHAPE', () => algebra.syrk(f(7), 2, 3, f(9)));
    refused('SHAPE', () => algebra.syrk(f(6), -2, -3, f(9)));
    refused('DTYPE', () => algebra.syrk(new Float64Array(6), 2, 3, f(9)));
    const buffer = f(16);
    refused('RANGE', () => algebra.syrk(buffer.subarray(0, 6), 2, 3, buffer.subarray(4, 13)));
  }
});

function symmetric<A extends FloatArray>(matrix: A, n: number): A {
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) matrix[j * n + i] = matrix[i * n + j];
  return matrix;
}
