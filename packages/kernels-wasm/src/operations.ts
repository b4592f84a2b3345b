import { type Awaitable, HalftoneError } from '@halftone/tensor';
import { type BlockOperations, blockOperations } from './internal/block-operations.js';
import { kernelCall } from './internal/kernel-call.js';
import { argmaxOperation } from './operations/argmax.js';
import { logSumExpOperation } from './operations/log-sum-exp.js';
import { quantizeOperation } from './operations/quantize.js';
import { rotateOperation } from './operations/rotate.js';
import { softmaxOperation } from './operations/softmax.js';
import { topKOperation } from './operations/top-k.js';
import { walshHadamardOperation } from './operations/walsh-hadamard.js';
import type { Machine, WasmRuntime } from './runtime.js';

/**
 * What models compute beside matrix products and attention, on float32 arrays anywhere. Arrays of the runtime's `allocate`, and
 * parts of them, are used where they are; others are copied to kernel memory and back. Matrices are row-major, rows are
 * independent of each other, and results do not depend on the number of threads.
 *
 * Operations on many rows return a promise on a page's main thread where they take several threads: wait for one before the next.
 * All throw `SHAPE` for arrays that are too short and sizes that make no sense, and `DEVICE` when memory runs out or after
 * `dispose`.
 */
export interface Operations extends BlockOperations {
  /**
   * `rotate` with pairs of neighbours: channel `2 i` of a head turns with channel `2 i + 1`. Both throw `RANGE` for an index outside
   * the tables.
   */
  readonly rotateInterleaved: BlockOperations['rotate'];
  /**
   * Probabilities of each row of `x * factor` (default 1), which is rounded to float32 first; `out` may be `x`. Those below
   * 1e-38 are 0. A row with NaN or infinity, or of minus infinities alone, becomes NaN.
   */
  softmax(x: Float32Array, rows: number, features: number, out: Float32Array, factor?: number): Awaitable<void>;
  /**
   * Multiplies blocks of `size` values (default: whole rows) by a symmetric orthogonal matrix with entries `+-1 / sqrt(size)`, in
   * place; twice gives the values back. The matrix is the Kronecker product of one of order 1, 12, 20 or 28
   * (`hadamardMatrix`) with Sylvester's of a power of two. Throws `UNSUPPORTED` for other sizes.
   */
  walshHadamard(x: Float32Array, rows: number, features: number, size?: number): Awaitable<void>;
  /**
   * The `k` largest of all values in falling order, equal ones by index. Throws `RANGE` unless `k` is from 1 to `x.length`,
   * `NUMERIC` for NaN. Cost: one pass, and `k log(n / k)` insertions into a heap for values in random order.
   */
  topK(x: Float32Array, k: number, values: Float32Array, indices: Int32Array): void;
  /** The index of the largest of all values, the first of equals. Throws `RANGE` for no values, `NUMERIC` for NaN. */
  argmax(x: Float32Array): number;
  /** `log(sum(exp(x)))` of all values. Minus infinity for none; NaN and infinity where there is one. */
  logSumExp(x: Float32Array): number;
  /**
   * Rounds rows to 8 bits as the products of `wasmBackend` do: each run of 32 values of a row (the last may be shorter) has a
   * scale `max |x| / 127`, and `codes` are `x / scale` rounded. `codes` is `[rows, features]`, `scales` is
   * `[rows, ceil(features / 32)]`. A run with NaN or infinity has that for its scale.
   */
  quantize(x: Float32Array, rows: number, features: number, codes: Int8Array, scales: Float32Array): Awaitable<void>;
}

/** Operations in WebAssembly. Throws `RANGE` for a runtime that `wasmRuntime` did not make. */
export function wasmOperations(runtime: WasmRuntime): Operations {
  if (!('job' in runtime)) {
    throw new HalftoneError('RANGE', 'this is not a runtime of wasmRuntime', { where: 'wasmOperations' });
  }
  const machine = runtime as Machine;
  const call = kernelCall(machine);
  return {
    ...blockOperations(machine),
    rotateInterleaved: rotateOperation(call, 'rotateInterleaved'),
    softmax: softmaxOperation(call),
    walshHadamard: walshHadamardOperation(call),
    topK: topKOperation(call),
    argmax: argmaxOperation(call),
    logSumExp: logSumExpOperation(call),
    quantize: quantizeOperation(call),
  };
}
