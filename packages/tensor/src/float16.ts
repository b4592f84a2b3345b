import { floatEncoder, floatFormatOf } from './float-format.js';

/** The value of an IEEE binary16 bit pattern. */
export function float16ToNumber(bits: number): number {
  const e = (bits >>> 10) & 31;
  const m = bits & 0x3ff;
  const magnitude = e === 0 ? m * 2 ** -24 : e === 31 ? (m === 0 ? Infinity : NaN) : (m + 1024) * (1 << e) * 2 ** -25;
  return (bits & 0x8000) === 0 ? magnitude : -magnitude;
}

/** Bits of the nearest binary16, ties to even; from 65520 up infinity. NaN becomes 0x7E00. */
export const numberToFloat16: (value: number) => number = /* @__PURE__ */ floatEncoder(floatFormatOf('f16'), 'ieee');

/** The nearest number that binary16 can hold. */
export function roundToFloat16(value: number): number {
  return float16ToNumber(numberToFloat16(value));
}

/** Decodes binary16 words. `out` has at least `words.length` elements. */
export function decodeFloat16(words: Uint16Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, words.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as number;
    const magnitude = word & 0x7fff;
    // Normal numbers only need another exponent bias; the rest is rare.
    if (magnitude >= 0x400 && magnitude < 0x7c00) bits[i] = ((word & 0x8000) << 16) | ((magnitude << 13) + 0x38000000);
    else out[i] = float16ToNumber(word);
  }
}
