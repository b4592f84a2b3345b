/** Where ggml's blocks of 32 elements keep what, for kernels that read them. */

/** Types whose blocks hold 32 elements. */
export type PlainType = 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q8_0' | 'MXFP4';

/** Vectors of codes of the row at a pointer: one with two codes in a byte, or two with one code in a byte. */
export const BLOCK_CODES: Readonly<Record<PlainType, readonly ((pointer: string) => string)[]>> = {
  Q4_0: [(p) => `v128.load(${p}, 2)`],
  Q4_1: [(p) => `v128.load(${p}, 4)`],
  // Signed codes of 5 bits are held as 6-bit ones with a bias of 32, of which the file's bias makes half.
  Q5_0: fiveBits(2).map((expression) => (p: string) => `i8x16.add(${expression(p)}, sixteens)`),
  Q5_1: fiveBits(4),
  Q8_0: [(p) => `v128.load(${p}, 2)`, (p) => `v128.load(${p}, 18)`],
  MXFP4: [(p) => `v128.load(${p}, 1)`],
};

/** E8M0 to half its value, 2^(byte - 128). The first two are subnormal; 255 is 2^127, as ggml has it. */
export const HALVED_POWERS = `
@inline function halvedPowers(bytes: v128): v128 {
  const one = i32x4.splat(1);
  return i32x4.max_s(i32x4.shl(i32x4.sub(bytes, one), 23), i32x4.shl(i32x4.add(bytes, one), 21));
}
`;

/** A word of fifth bits at `at`, then nibbles as in Q4_0. */
function fiveBits(at: number): ((pointer: string) => string)[] {
  const fifth = (p: string, half: number) =>
    `v128.and(i8x16.eq(v128.and(i8x16.shuffle(i32x4.splat(load<u32>(${p}, ${at})), powers, ${bytesTwice(half)}), powers), powers), sixteens)`;
  return [
    (p) => `v128.or(v128.and(v128.load(${p}, ${at + 4}), nibbles), ${fifth(p, 0)})`,
    (p) => `v128.or(v128.and(i16x8.shr_u(v128.load(${p}, ${at + 4}), 4), nibbles), ${fifth(p, 1)})`,
  ];
}

/** Lanes of a shuffle that spreads two bytes over eight lanes each. */
function bytesTwice(half: number): string {
  return Array.from({ length: 16 }, (_, lane) => 2 * half + (lane >> 3)).join(', ');
}
