import type { BatchedGemm, LinearAlgebra } from '../../linear-algebra.js';
import { plainBatchedGemm, scaleMatrices } from '../../plain/gemm.js';
import { mirrorLower, plainSyrk } from '../../plain/syrk.js';
import type { Machine } from '../../runtime.js';
import { checkApart, checkedStrides, checkMatrix, checkOneType, checkSizes } from './checks.js';
import { batchedProduct } from './gemm.js';
import { rowMajor, transposed } from './matrix.js';
import { multiply } from './multiply.js';
import { elementBytes, type FloatArray, input, output, withOperands } from './operands.js';
import { finish } from './steps.js';

export function products(machine: Machine | undefined): Pick<LinearAlgebra, 'gemm' | 'batchedGemm' | 'syrk'> {
  const gemmAs = (where: string, product: BatchedGemm, a: FloatArray, b: FloatArray, c: FloatArray) => {
    const strides = checkedStrides(where, product, a, b, c);
    checkOneType(where, a, b, c);
    checkApart(where, 'c', c, a, b);
    const { m, n, k, count, alpha = 1, beta = 0 } = product;
    if (m * n * count === 0) return undefined;
    if (k === 0 || alpha === 0) return scaleMatrices(product, strides, c);
    if (machine === undefined) return plainBatchedGemm(product, strides, a, b, c);
    const gaps = c.length > m * n * count;
    const operands = [input(a), input(b), output(c, beta !== 0 || gaps)];
    return finish(
      withOperands(machine, operands, (place, addresses) =>
        batchedProduct(place, elementBytes(c), product, strides, addresses),
      ),
    );
  };

  return {
    gemm: (product, a, b, c) => gemmAs('gemm', { ...product, count: 1 }, a, b, c),
    batchedGemm: (product, a, b, c) => gemmAs('batchedGemm', product, a, b, c),
    syrk(x, rows, n, g, { triangle = 'both' } = {}) {
      checkSizes('syrk', { rows, n });
      checkMatrix('syrk', 'x', x, rows, n);
      checkMatrix('syrk', 'g', g, n, n);
      if (elementBytes(g) === 4) checkOneType('syrk', x, g);
      checkApart('syrk', 'g', g, x);
      const mirror = () => (triangle === 'both' ? mirrorLower(g, n) : undefined);
      if (rows * n === 0) return mirror();
      if (machine === undefined) {
        plainSyrk(x, rows, n, g);
        return mirror();
      }
      const bytes = elementBytes(x);
      const pending = finish(
        withOperands(machine, [input(x), output(g, true)], (place, [xAt, gAt]) => {
          const b = rowMajor(xAt, n, bytes);
          const c = rowMajor(gAt, n, elementBytes(g));
          const product = { m: n, n, k: rows, a: transposed(b), b, c, beta: 1, diagonal: 0 };
          return multiply(place, bytes, product, bytes !== elementBytes(g));
        }),
      );
      return pending === undefined ? mirror() : pending.then(mirror);
    },
  };
}
