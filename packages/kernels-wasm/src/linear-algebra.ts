import type { Awaitable } from '@halftone/tensor';
import { factorizations } from './internal/algebra/factorizations.js';
import type { FloatArray } from './internal/algebra/operands.js';
import { products } from './internal/algebra/products.js';
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

export interface SyrkOptions {
  /**
   * With `lower`, what is above the diagonal is left alone: of calls that add to one matrix, only the last needs `both`.
   * Default `both`.
   */
  readonly triangle?: 'both' | 'lower';
}

/** `op(t) x = alpha b`, or on the right `x op(t) = alpha b`, with `t` `[n, n]`. */
export interface TriangularSystem {
  readonly n: number;
  /** Columns of `b` `[n, vectors]`, or on the right rows of `b` `[vectors, n]`. */
  readonly vectors: number;
  /** Default `left`. */
  readonly side?: 'left' | 'right';
  /** The triangle of `t` that counts; the other one is not read. Default `lower`. */
  readonly triangle?: 'lower' | 'upper';
  /** `op(t)` is the transpose. Default false. */
  readonly transpose?: boolean;
  /** Default 1. */
  readonly alpha?: number;
}

export interface FactorOptions {
  /**
   * `float64` works on a float64 copy of float32 matrices and rounds the result once, at half the speed. Float64 matrices are
   * always worked on in float64. Default: the type of the matrices.
   */
  readonly accumulate?: 'float32' | 'float64';
}

export interface InverseFactorOptions extends FactorOptions {
  /** Added to the diagonal, as a share of its mean. Default 0.01, GPTQ's `percdamp`. */
  readonly damping?: number;
}

/**
 * Dense linear algebra on row-major matrices. All matrices of a call are float32, or all are float64, but where it says
 * otherwise. Arrays may be any; those of the runtime's `allocate`, and views of their memory, spare copies. Results are the same
 * for any number of threads. A method resolves (or returns) when its output is written; start no other one before.
 *
 * Triangles, factors and inverses follow `@halftone/numerics`: factors are lower triangular with zeros above.
 *
 * Throws `SHAPE` for sizes that do not fit, `DTYPE` for mixed types, `RANGE` for an output that overlaps an operand and is not
 * the same, `DEVICE` when there is no memory to work in.
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
  /** Puts the solution in the place of `b`. Costs `n² vectors` flops. */
  solveTriangular(system: TriangularSystem, t: FloatArray, b: FloatArray): Awaitable<void>;
  /**
   * The lower factor `L` with `a = L Lᵀ`. Reads the lower triangle; `out` may be `a`. Throws `NUMERIC` with the index of the pivot
   * when `a` is not positive definite; then `out` holds nothing of use. Costs `n³ / 3` flops.
   */
  cholesky(a: FloatArray, n: number, out: FloatArray, options?: FactorOptions): Awaitable<void>;
  /** Solves `a x = b` in place for `b` `[n, vectors]`, given the factor of `a`. Costs `2 n² vectors` flops. */
  choleskySolve(l: FloatArray, n: number, b: FloatArray, vectors: number): Awaitable<void>;
  /** The inverse of a lower triangular matrix. Reads the lower triangle; `out` may be `l`. Costs `n³ / 3` flops. */
  invertLower(l: FloatArray, n: number, out: FloatArray, options?: FactorOptions): Awaitable<void>;
  /** The inverse, exactly symmetric, of what `cholesky` takes. Throws as `cholesky`. Costs `n³` flops. */
  invertPositiveDefinite(a: FloatArray, n: number, out: FloatArray, options?: FactorOptions): Awaitable<void>;
  /**
   * The upper triangular `U` with `UᵀU = (h + damping * mean(diag h) * I)⁻¹` that GPTQ rounds with, as in `@halftone/numerics`.
   * `out` may be `h`. Throws `NUMERIC` for an unusable diagonal and as `cholesky`. Costs `2 n³ / 3` flops.
   */
  choleskyUpperOfInverse(h: FloatArray, n: number, out: FloatArray, options?: InverseFactorOptions): Awaitable<void>;
}

/**
 * Linear algebra on a runtime's memories and threads or, without a runtime, in plain TypeScript for where WebAssembly SIMD is
 * missing: many times slower, with sums in float64.
 */
export function linearAlgebra(runtime?: WasmRuntime): LinearAlgebra {
  // `wasmRuntime` makes every runtime, and makes it a machine.
  const machine = runtime as Machine | undefined;
  return { ...products(machine), ...factorizations(machine) };
}
