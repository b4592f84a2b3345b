import {
  type Awaitable,
  HalftoneError,
  type QuantizedTensor,
  type Scheme,
  type UploadedLinear,
} from '@halftone/tensor';
import type { Arena } from './internal/arena.js';
import { type HeldInt8, holdInt8 } from './internal/held-int8.js';
import { int8Products } from './internal/int8-products.js';
import { int8Weight, isInt8Scheme } from './internal/int8-weight.js';
import { checkWeight } from './internal/linear-checks.js';
import { INT8 } from './internal/modules/int8.js';
import type { Machine, WasmRuntime } from './runtime.js';

const WHERE = 'int8Product';
/** Bytes of `x` that are quantized together. */
const CHUNK_BYTES = 4 * 2 ** 20;

/** Rows of activations as `x[r, i] ~ scales[r] * codes[r, i]`. */
export interface QuantizedRows {
  /** `[rows, features]`, from -127 to 127. */
  readonly codes: Int8Array;
  /** `[rows]` */
  readonly scales: Float32Array;
}

export interface QuantizeRowsOptions {
  /**
   * One scale for every row, found beforehand: values beyond 127 times it saturate. Without it each row has its own,
   * `max |x| / 127`.
   */
  readonly scale?: number;
  /** Where results go, instead of new arrays. */
  readonly into?: QuantizedRows;
}

/** Products of 8-bit activations with 8-bit weights (W8A8) and 4-bit weights (W4A8). */
export interface Int8Product {
  /** Whether `upload` takes weights of this scheme. */
  supports(scheme: Scheme): boolean;
  /**
   * Signed symmetric codes without side branches: of up to 8 bits with a scale for the tensor or each output feature; of up to
   * 4 bits also with scales for groups of a multiple of 32 columns. Where those scales are themselves quantized to at most 8
   * bits with a factor for each output feature, all sums stay whole numbers.
   *
   * Throws `UNSUPPORTED` for other weights, `SHAPE` for parts of a wrong size, and `RANGE` where sums may not fit 32 bits: from
   * 131072 input features with 8-bit codes.
   */
  upload(weight: QuantizedTensor, bias?: Float32Array): UploadedLinear;
  /**
   * `x [rows, features]` to codes, rounded to nearest, ties to even. A row with a NaN has the scale NaN; without a fixed
   * scale one with an infinity has an infinite scale and gives NaN in products. Throws `SHAPE`, and `RANGE` for a scale that is
   * not positive and finite.
   */
  quantizeRows(x: Float32Array, rows: number, features: number, options?: QuantizeRowsOptions): QuantizedRows;
  /**
   * `out[r, o] = scales[r] * sum_i codes[r, i] W[o, i] + bias[o]`. Sums of products of codes are exact; after them each step is
   * rounded to float32 once, in the same way in every build and on any number of threads (`plainInt8Product` has the same
   * bits). Resolves (or returns, where threads may wait) when `out` is written. Throws `SHAPE`, and `DEVICE` for a weight that is
   * not held here.
   */
  multiply(
    weight: UploadedLinear,
    codes: Int8Array,
    scales: Float32Array,
    rows: number,
    out: Float32Array,
  ): Awaitable<void>;
  release(weight: UploadedLinear): void;
}

/**
 * Integer products in a runtime's memories and threads: one scale for a row of activations and one for an output feature, so
 * that nothing but whole numbers is added up on the way. Faster than products with blocks of 32, and less accurate where a row
 * of activations has large outliers. The scheme of LLM.int8() (arXiv 2208.07339) and SmoothQuant (2211.10438); two levels of
 * scales as in QServe (2405.04532).
 */
export function int8Product(runtime: WasmRuntime): Int8Product {
  // `wasmRuntime` makes every runtime, and makes it a machine.
  const machine = runtime as Machine;
  const product = int8Products(machine);
  const held = new Map<UploadedLinear, HeldInt8>();
  let home: Arena | undefined;

  return {
    supports: isInt8Scheme,
    upload(weight, bias) {
      machine.checkAlive();
      checkWeight(weight, bias);
      const uploaded = holdInt8(machine, int8Weight(weight), bias);
      held.set(uploaded, uploaded);
      return uploaded;
    },
    quantizeRows(x, rows, features, { scale, into } = {}) {
      machine.checkAlive();
      checkRows(x, rows, features, scale, into);
      const codes = into?.codes ?? new Int8Array(rows * features);
      const scales = into?.scales ?? new Float32Array(rows);
      home ??= anyArena(machine);
      quantizeChunks(machine, home, x, rows, features, scale ?? 0, { codes, scales });
      return into ?? { codes, scales };
    },
    multiply(uploaded, codes, scales, rows, out) {
      machine.checkAlive();
      const weight = held.get(uploaded);
      if (weight === undefined) {
        throw new HalftoneError('DEVICE', 'this weight is not held here; it was released, or uploaded elsewhere', {
          where: WHERE,
        });
      }
      checkOperands(weight, codes, scales, rows, out);
      return product(weight, codes, scales, rows, out);
    },
    release(uploaded) {
      const weight = held.get(uploaded);
      weight?.arena.free(weight.weight);
      held.delete(uploaded);
    },
  };
}

function anyArena({ place }: Machine): Arena {
  const [arena, address] = place(1);
  arena.free(address);
  return arena;
}

function quantizeChunks(
  machine: Machine,
  arena: Arena,
  x: Float32Array,
  rows: number,
  features: number,
  fixed: number,
  { codes, scales }: QuantizedRows,
): void {
  const { quantizeRows } = machine.kernels(arena, INT8);
  const most = Math.max(1, Math.floor(CHUNK_BYTES / (4 * features)));
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first);
    const length = count * features;
    const from = first * features;
    const scalesAt = arena.scratch(5 * length + 4 * count);
    const xAt = scalesAt + 4 * count;
    const codesAt = xAt + 4 * length;
    arena.floats.set(x.subarray(from, from + length), xAt / 4);
    quantizeRows(xAt, count, features, fixed, codesAt, features, scalesAt);
    codes.set(arena.bytes.subarray(codesAt, codesAt + length), from);
    scales.set(arena.floats.subarray(scalesAt / 4, scalesAt / 4 + count), first);
  }
}

function checkRows(
  x: Float32Array,
  rows: number,
  features: number,
  scale: number | undefined,
  into: QuantizedRows | undefined,
): void {
  const count = rows * features;
  const whole = Number.isSafeInteger(rows) && rows >= 0 && Number.isSafeInteger(features) && features >= 1;
  const room = into === undefined || (into.codes.length >= count && into.scales.length >= rows);
  if (!whole || x.length < count || !room) {
    throw new HalftoneError('SHAPE', `${rows} rows of ${features} features do not fit into x or into the results`, {
      where: WHERE,
      details: { rows, features, x: x.length, codes: into?.codes.length, scales: into?.scales.length },
    });
  }
  if (scale === undefined) return;
  const rounded = Math.fround(scale);
  // The inverse of a denormal scale may overflow.
  if (!(rounded > 0 && rounded < Infinity && Number.isFinite(Math.fround(1 / rounded)))) {
    throw new HalftoneError('RANGE', `the scale is ${scale}; it must be a positive float32 with a finite inverse`, {
      where: WHERE,
      details: { scale },
    });
  }
}

function checkOperands(
  { inFeatures, outFeatures }: UploadedLinear,
  codes: Int8Array,
  scales: Float32Array,
  rows: number,
  out: Float32Array,
): void {
  const whole = Number.isSafeInteger(rows) && rows >= 0;
  if (whole && codes.length >= rows * inFeatures && scales.length >= rows && out.length >= rows * outFeatures) return;
  throw new HalftoneError(
    'SHAPE',
    `${rows} rows of ${inFeatures} to ${outFeatures} features do not fit into codes (${codes.length}), scales (${scales.length}) and out (${out.length})`,
    { where: WHERE, details: { rows, inFeatures, outFeatures } },
  );
}
