import type { WasmBuild as Build } from '../src/internal/layout.js';

/** Pieces of AssemblyScript text. AssemblyScript has no macros, so unrolled loop bodies are written from here. */

export type { WasmBuild as Build } from '../src/internal/layout.js';

export function unroll(count: number, body: (index: number) => string, separator = '\n'): string {
  return Array.from({ length: count }, (_, i) => body(i)).join(separator);
}

/** `a * b + c` in float32 lanes. */
export function multiplyAdd(build: Build, a: string, b: string, c: string): string {
  return build === 'relaxed' ? `f32x4.relaxed_madd(${a}, ${b}, ${c})` : `f32x4.add(${c}, f32x4.mul(${a}, ${b}))`;
}

export function splat32(pointer: string, offset = 0): string {
  return `v128.load32_splat(${pointer}, ${offset})`;
}

/** `sum += dot(w, x)`: pairs of 16-bit products in four 32-bit lanes. */
export function addDot16(sum: string, w: string, x: string): string {
  return `${sum} = i32x4.add(${sum}, i32x4.dot_i16x8_s(${w}, ${x}));`;
}

/**
 * Constants that kernels splat. They are exported mutable globals, so that the optimizer cannot know their values: it would
 * write them as `v128.const` at every use, and engines make such a constant again each time.
 */
export const CONSTANTS = `
export let ONE: i32 = 1;
export let CRUMB: i32 = 0x03;
export let CRUMB_1: i32 = 0x0c;
export let CRUMB_2: i32 = 0x30;
export let CRUMB_3: i32 = 0xc0;
export let NIBBLE: i32 = 0x0f;
export let NIBBLE_1: i32 = 0xf0;
export let NIBBLE_2: i32 = 0xf00;
export let HIGH_BYTE: i32 = 0xff00;
`;
