import {
  type DType,
  type PackedTensor,
  packed,
  packedByteLength,
  type QuantizedTensor,
  tensor,
} from '@halftone/tensor';

/** Made-up tensors and weights, the same every time. */

/** A stream of whole numbers below the limits asked for. */
export function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

export function wholeNumbers(count: number, limit: number, seed = 1): number[] {
  const next = numbers(seed);
  return Array.from({ length: count }, () => next(limit));
}

/** Float32 values of many magnitudes and both signs. */
export function floats(count: number, seed = 1): Float32Array {
  const whole = wholeNumbers(count, 2 ** 24, seed);
  const exponents = wholeNumbers(count, 20, seed + 7);
  return Float32Array.from(whole, (n, i) => (n - 2 ** 23) * 2 ** (-40 + (exponents[i] as number)));
}

/** A tensor from bytes in the order of the file. */
export function stored<T extends DType>(dtype: T, shape: readonly number[], bytes: ArrayLike<number>): PackedTensor<T> {
  if (bytes.length !== packedByteLength(dtype, shape)) {
    throw new Error(`${bytes.length} bytes are no ${dtype} [${shape}]`);
  }
  return packed(dtype, shape, Uint8Array.from(bytes));
}

export function storedFloats(
  values: ArrayLike<number>,
  shape: readonly number[] = [values.length],
): PackedTensor<'f32'> {
  return packed('f32', shape, new Uint8Array(Float32Array.from(values).buffer));
}

export function int32(shape: readonly number[], values: readonly number[]): PackedTensor {
  return packed('i32', shape, new Uint8Array(Int32Array.from(values).buffer));
}

/** A random affine weight. `groupSize` 0: one scale for each row; scales are multiples of 2^-10, which f16 and bf16 hold. */
export function affine(options: {
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  readonly groupSize: number;
  readonly signed?: boolean;
  readonly zeros?: 'none' | 'whole' | 'above 0';
  readonly groupIndex?: boolean;
  readonly seed?: number;
}): QuantizedTensor {
  const { rows, columns, bits, groupSize, signed = false, zeros = 'whole', groupIndex = false, seed = 1 } = options;
  const random = numbers(seed);
  const groups = groupSize === 0 ? 1 : Math.ceil(columns / groupSize);
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const codes = Array.from({ length: rows * columns }, () => lowest + random(2 ** bits));
  const first = zeros === 'above 0' ? 1 : 0;
  const order = Array.from({ length: columns }, (_, j) => Math.floor(j / Math.max(1, groupSize)));
  for (let j = columns - 1; j > 0; j--) {
    const k = random(j + 1);
    [order[j], order[k]] = [order[k] as number, order[j] as number];
  }
  return {
    kind: 'quantized',
    shape: [rows, columns],
    scheme: {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits, signed, symmetric: zeros === 'none' },
      granularity: groupSize === 0 ? { type: 'axis', axis: 0 } : { type: 'group', axis: 1, size: groupSize },
    },
    parts: {
      codes: tensor(signed ? Int8Array.from(codes) : Uint8Array.from(codes), [rows, columns]),
      scales: tensor(
        Float32Array.from({ length: rows * groups }, () => (random(200) - 99.5) / 1024),
        [rows, groups],
      ),
      ...(zeros === 'none'
        ? {}
        : {
            zeros: tensor(
              Int16Array.from({ length: rows * groups }, () => lowest + first + random(2 ** bits - first)),
              [rows, groups],
            ),
          }),
      ...(groupIndex ? { groupIndex: Uint32Array.from(order) } : {}),
    },
  };
}
