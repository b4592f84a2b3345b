import type { Awaitable } from '@halftone/tensor';
import { checkApart, checkedStrides, checkMatrix, checkOneType, checkSizes } from './internal/algebra/checks.js';
import { batchedProduct } from './internal/algebra/gemm.js';
import { rowMajor, transposed } from './internal/algebra/matrix.js';
import { multiply } from './internal/algebra/multiply.js';
import { elementBytes, type FloatArray, input, output, withOperands } from './internal/algebra/operands.js';
import { finish } from './internal/algebra/steps.js';
import { plainBatchedGemm, scaleMatrices } from './plain/gemm.js';
import { mirrorLower, plainSyrk } from './plain/syrk.js';
import type { Machine, WasmRuntime } from './runtime.js';

/** `c = alpha op(a) op(b) + beta c` with `op(a)` `[m, k]`, `op(b)` `[k, n]` and `c` `[m, n]`, row-major. */
export interface Gemm {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** `a` is `[k, m]`, and `op(a)` its transpose. Default false. */
  readonly transposeA?: boolean;
  /** `b` is `[n, k]`, and `op(b)` its transpose. Default false. */
  readonly transposeB?: boolean;
  /** Default 1. With 0, `a` and `b` are not read. */
  readonly alpha?: number;
  /** Default 0: `c` is overwritten, whatever is in it. */
  readonly beta?: number;
  /** From one row of `a`, as it is stored, to the next, in elements. Default: rows follow each other. */
  readonly rowStrideA?: number;
  readonly rowStrideB?: number;
  readonly rowStrideC?: number;
}

/** `count` products of one shape, for example attention heads. */
export interface BatchedGemm extends Gemm {
  readonly count: number;
  /** From one `a` to the next, in elements; 0 when all products have the same. Default: they follow each other. */
  readonly strideA?: number;
  readonly strideB?: number;
  readonly strideC?: number;
}

/** Options of `syrk`. */
export interface SyrkOptions {
  /** With `lower`, what is above the diagonal is left alone: sums of many calls need `both` in the last one only. Default `both`. */
  readonly triangle?: 'both' | 'lower';
}

/**
 * Dense linear algebra on row-major matrices. All matrices of a call are float32, or all are float64, but where it says
 * otherwise. Arrays may be any; those of the runtime's `allocate`, and views of their memory, spare copies. Results are the same
 * for any number of threads. A method resolves (or returns) when its output is written; start no other one before.
 *
 * Throws `SHAPE` for sizes that do not fit, `DTYPE` for mixed types, `RANGE` for an output that overlaps an operand, `DEVICE` when
 * there is no memory to work in.
 */
export interface LinearAlgebra {
  /** Costs `2 m n k` flops. */
  gemm(product: Gemm, a: FloatArray, b: FloatArray, c: FloatArray): Awaitable<void>;
  batchedGemm(product: BatchedGemm, a: FloatArray, b: FloatArray, c: FloatArray): Awaitable<void>;
  /**
   * `g += xᵀ x` for `x` `[rows, n]` and `g` `[n, n]`, at `rows n²` flops. A float64 `g` takes a float32 `x` too: 256 rows at a time are
   * summed in float32, and such sums in float64.
   */
  syrk(x: FloatArray, rows: number, n: number, g: FloatArray, options?: SyrkOptions): Awaitable<void>;
}

/**
 * Linear algebra on a runtime's memories and threads, or without a runtime, as where WebAssembly SIMD is missing, in plain
 * TypeScript: 10 to 30 times slower, with sums in float64.
 */
export function linearAlgebra(runtime?: WasmRuntime): LinearAlgebra {
  // Every runtime is made by `wasmRuntime`.
  const machine = runtime as Machine | undefined;
  const gemmAs = (where: string, product: BatchedGemm, a: FloatArray, b: FloatArray, c: FloatArray) => {
    const strides = checkedStrides(where, product, a, b, c);
    checkOneType(where, a, b, c);
    checkApart(where, 'c', c, a, b);
    const { m, n, k, count, alpha = 1, beta = 0, rowStrideC = n } = product;
    if (m * n * count === 0) return undefined;
    if (k === 0 || alpha === 0) return scaleMatrices(product, strides, c);
    if (machine === undefined) return plainBatchedGemm(product, strides, a, b, c);
    const gaps = rowStrideC > n || strides.strideC > m * n;
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
