import type { Build } from '../unroll.js';

/** What the kernels of one element type are written with. `suffix` ends their names. */
export interface Element {
  readonly scalar: 'f32' | 'f64';
  readonly vector: 'f32x4' | 'f64x2';
  readonly suffix: '32' | '64';
  readonly bytes: 4 | 8;
  readonly lanes: 4 | 2;
}

export const FLOAT32: Element = { scalar: 'f32', vector: 'f32x4', suffix: '32', bytes: 4, lanes: 4 };
export const FLOAT64: Element = { scalar: 'f64', vector: 'f64x2', suffix: '64', bytes: 8, lanes: 2 };

/** `a * b + c` */
export function multiplyAdd(build: Build, { vector }: Element, a: string, b: string, c: string): string {
  return build === 'relaxed'
    ? `${vector}.relaxed_madd(${a}, ${b}, ${c})`
    : `${vector}.add(${c}, ${vector}.mul(${a}, ${b}))`;
}

/** `c - a * b` */
export function multiplySubtract(build: Build, { vector }: Element, a: string, b: string, c: string): string {
  return build === 'relaxed'
    ? `${vector}.relaxed_nmadd(${a}, ${b}, ${c})`
    : `${vector}.sub(${c}, ${vector}.mul(${a}, ${b}))`;
}

export function loadSplat({ bytes }: Element, pointer: string, offset = 0): string {
  return `v128.load${8 * bytes}_splat(${pointer}, ${offset})`;
}
