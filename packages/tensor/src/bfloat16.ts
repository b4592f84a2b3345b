import { floatEncoder, floatFormatOf } from './float-format.js';

/** The value of a bfloat16 bit pattern. */
export const bfloat16ToNumber: (bits: number) => number = /* @__PURE__ */ (() => {
  const value = new Float32Array(1);
  const word = new Uint32Array(value.buffer);
  return (bits: number) => {
    word[0] = bits << 16;
    return value[0] as number;
  };
})();

/** Bits of the nearest bfloat16, ties to even; beyond 3.396e38 infinity. NaN becomes 0x7FC0. */
export const numberToBfloat16: (value: number) => number = /* @__PURE__ */ floatEncoder(floatFormatOf('bf16'), 'ieee');

/** The nearest number that bfloat16 can hold. */
export function roundToBfloat16(value: number): number {
  return bfloat16ToNumber(numberToBfloat16(value));
}

/** Decodes bfloat16 words: the upper halves of float32. `out` has at least `words.length` elements. */
export function decodeBfloat16(words: Uint16Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, words.length);
  for (let i = 0; i < words.length; i++) bits[i] = (words[i] as number) << 16;
}
