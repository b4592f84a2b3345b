import type { Awaitable } from '@halftone/tensor';
import type { FactorOptions, LinearAlgebra, TriangularSystem } from '../../linear-algebra.js';
import { clearUpper, plainCholesky, plainInvertLower, plainInvertPositiveDefinite } from '../../plain/cholesky.js';
import { plainUpperOfInverse } from '../../plain/inverse-factor.js';
import { mirrorLower } from '../../plain/syrk.js';
import { plainSolveTriangular } from '../../plain/triangular.js';
import type { Machine } from '../../runtime.js';
import { TRIANGLE } from './blocking.js';
import { checkSystem, checkTransformed } from './checks.js';
import { factor, gramOfLower, invert } from './cholesky.js';
import { dampReversed, withPivotsReversed } from './inverse-factor.js';
import { rowMajor } from './matrix.js';
import {
  type ElementBytes,
  elementBytes,
  type FloatArray,
  input,
  output,
  type Place,
  view,
  withOperands,
  workspace,
} from './operands.js';
import { finish, type Steps } from './steps.js';
import { solve } from './triangular.js';

type Factorizations = Omit<LinearAlgebra, 'gemm' | 'batchedGemm' | 'syrk'>;

export function factorizations(machine: Machine | undefined): Factorizations {
  const solveTriangular = (where: string, system: TriangularSystem, t: FloatArray, b: FloatArray) => {
    checkSystem(where, system, t, b);
    const { n, vectors, side = 'left', triangle = 'lower', transpose = false, alpha } = system;
    if (n * vectors === 0) return undefined;
    if (machine === undefined) return plainSolveTriangular(system, t, b);
    const bytes = elementBytes(t);
    return finish(
      withOperands(machine, [input(t), output(b, true)], (place, [tAt, bAt]) => {
        const right = side === 'right';
        const matrices = { t: rowMajor(tAt, n, bytes, transpose), b: rowMajor(bAt, right ? n : vectors, bytes) };
        const lower = (triangle === 'lower') !== transpose;
        return solve(place, bytes, { ...matrices, lower, right, vectors, alpha }, 0, n);
      }),
    );
  };

  /** Puts what becomes of `a` into `out`, in the type that sums are to have. */
  const transform = (
    where: string,
    { a, n, out, accumulate }: Transformation,
    plain: (values: FloatArray, n: number) => void,
    steps: (task: Task) => Steps,
  ): Awaitable<void> => {
    checkTransformed(where, a, n, out);
    if (n === 0) return undefined;
    const bytes = accumulate === 'float64' ? 8 : elementBytes(out);
    if (out !== a) out.set(a);
    if (machine === undefined) {
      const values = bytes === elementBytes(out) ? out : Float64Array.from(out);
      plain(values, n);
      if (values !== out) out.set(values);
      return undefined;
    }
    const operand = output(out, true, bytes);
    return finish(
      withOperands(machine, [operand, workspace(TRIANGLE * TRIANGLE, bytes)], (place, [at, corner]) =>
        steps({ place, bytes, n, at, corner, values: view(place.arena, at, operand) }),
      ),
    );
  };

  return {
    solveTriangular: (system, t, b) => solveTriangular('solveTriangular', system, t, b),
    choleskySolve(l, n, b, vectors) {
      const backward = () => solveTriangular('choleskySolve', { n, vectors, transpose: true }, l, b);
      const pending = solveTriangular('choleskySolve', { n, vectors }, l, b);
      return pending === undefined ? backward() : pending.then(backward);
    },
    cholesky: (a, n, out, { accumulate } = {}) =>
      transform('cholesky', { a, n, out, accumulate }, plainCholesky, factorSteps),
    invertLower: (l, n, out, { accumulate } = {}) =>
      transform('invertLower', { a: l, n, out, accumulate }, plainInvertLower, invertSteps),
    invertPositiveDefinite: (a, n, out, { accumulate } = {}) =>
      transform('invertPositiveDefinite', { a, n, out, accumulate }, plainInvertPositiveDefinite, inverseSteps),
    choleskyUpperOfInverse: (h, n, out, { damping = 0.01, accumulate } = {}) =>
      withPivotsReversed(n, () =>
        transform(
          'choleskyUpperOfInverse',
          { a: h, n, out, accumulate },
          (values) => plainUpperOfInverse(values, n, damping),
          function* (task) {
            dampReversed(task.values, n, damping);
            yield* factorSteps(task);
            yield* invertSteps(task);
            task.values.reverse();
          },
        ),
      ),
  };
}

interface Transformation extends FactorOptions {
  readonly a: FloatArray;
  readonly n: number;
  readonly out: FloatArray;
}

interface Task {
  readonly place: Place;
  readonly bytes: ElementBytes;
  readonly n: number;
  readonly at: number;
  readonly values: FloatArray;
  /** The address of a small matrix to work in. */
  readonly corner: number;
}

function* factorSteps({ place, bytes, n, at, values }: Task): Steps {
  yield* factor(place, bytes, rowMajor(at, n, bytes), 0, n);
  clearUpper(values, n);
}

function* invertSteps({ place, bytes, n, at, corner, values }: Task): Steps {
  yield* invert(place, bytes, rowMajor(at, n, bytes), corner, 0, n);
  clearUpper(values, n);
}

function* inverseSteps(task: Task): Steps {
  const { place, bytes, n, values } = task;
  yield* factorSteps(task);
  yield* invertSteps(task);
  const product = workspace(n * n, bytes);
  yield* withOperands(place.machine, [input(values), product], function* (where, [at, productAt]) {
    const inverse = view(where.arena, productAt, product).fill(0);
    yield* gramOfLower(where, bytes, rowMajor(at, n, bytes), rowMajor(productAt, n, bytes), n);
    mirrorLower(inverse, n);
    values.set(inverse);
  });
}
