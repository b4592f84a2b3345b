import { type LinearAlgebra, linearAlgebra, type WasmRuntime, wasmRuntime } from '../../src/index.js';
import type { FloatArray } from '../../src/internal/algebra/operands.js';
import { noise } from '../noise.js';
import { BUILDS } from '../product.js';

export const SIZES = [1, 2, 3, 7, 8, 9, 31, 64, 65, 130, 257];
export const TYPES = [Float32Array, Float64Array] as const;
export type FloatArrayType = (typeof TYPES)[number];

export const EPSILON = { 4: 2 ** -24, 8: 2 ** -53 } as const;

export interface Instance {
  readonly name: string;
  readonly runtime: WasmRuntime;
  readonly algebra: LinearAlgebra;
}

/** Each build that this engine runs, on one thread and on two. */
export function instances(): readonly Instance[] {
  return BUILDS.flatMap((build) =>
    [1, 2].map((threads) => {
      const runtime = wasmRuntime({ build, threads, memoryBytes: 2 ** 28 });
      return { name: `${build}, ${threads} threads`, runtime, algebra: linearAlgebra(runtime) };
    }),
  );
}

export const plain = linearAlgebra();

export function random(type: FloatArrayType, length: number, seed = 1): FloatArray {
  return new type(noise(length, seed));
}

/** A copy that lies in the runtime's memory. */
export function placed(runtime: WasmRuntime, array: FloatArray): FloatArray {
  const memory = runtime.allocate(array.byteLength / 4);
  if (array instanceof Float32Array) {
    memory.set(array);
    return memory;
  }
  const copy = new Float64Array(memory.buffer, memory.byteOffset, array.length);
  copy.set(array);
  return copy;
}

export function absolute<A extends FloatArray>(array: A): A {
  return array.map(Math.abs) as A;
}

/** The largest of `|actual - expected| / bound`, NaN where one is not a number and the other is. */
export function largestRatio(actual: FloatArray, expected: FloatArray, bound: (index: number) => number): number {
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i]) || actual[i] === expected[i]) continue;
    worst = Math.max(worst, Math.abs(actual[i] - expected[i]) / bound(i));
  }
  return worst;
}

/** The bits, for comparing results that hold NaN and signed zeros. */
export function bits(array: FloatArray): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
