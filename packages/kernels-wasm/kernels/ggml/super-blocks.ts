/** Where ggml's super-blocks of 256 elements keep what, for kernels that read them. */

export type SuperType = 'Q2_K' | 'Q3_K' | 'Q4_K' | 'Q5_K' | 'Q6_K' | 'IQ4_XS';

/** Where a type keeps what. Expressions read the row at a pointer `p`. */
export interface SuperBlock {
  /** Offset of the binary16 factor of scales, and of the one of mins, which are subtracted. */
  readonly scale: number;
  readonly min?: number;
  /** Four consecutive scale codes (mins) as floats; `quad` counts fours of groups. */
  readonly scales: (p: string, quad: number) => string;
  readonly mins?: (p: string, quad: number) => string;
  /** Declares what the codes of block \`b\` (0 to 7, of 32 elements) need. */
  readonly block: string;
  /** Sixteen codes of block \`b\`, one a byte; \`half\` is 0 or 1. Or all of them as panels have them, two a byte. */
  readonly codes: ((p: string, half: number) => string) | { readonly both: (p: string) => string };
  /** Added to bytes of two codes. */
  readonly bias?: string;
}

/** Bytes 4 to 15 of Q4_K and Q5_K: eight scales and eight mins of 6 bits. */
const SIX_BIT_PAIRS: Pick<SuperBlock, 'scale' | 'min' | 'scales' | 'mins'> = {
  scale: 0,
  min: 2,
  scales: (p, quad) =>
    quad === 0
      ? `unsignedBytes(load<u32>(${p}, 4) & 0x3f3f3f3f)`
      : `unsignedBytes((load<u32>(${p}, 12) & 0x0f0f0f0f) | ((load<u32>(${p}, 4) >> 2) & 0x30303030))`,
  mins: (p, quad) =>
    quad === 0
      ? `unsignedBytes(load<u32>(${p}, 8) & 0x3f3f3f3f)`
      : `unsignedBytes(((load<u32>(${p}, 12) >> 4) & 0x0f0f0f0f) | ((load<u32>(${p}, 8) >> 2) & 0x30303030))`,
};

export const SUPER_BLOCKS: Readonly<Record<SuperType, SuperBlock>> = {
  Q2_K: {
    scale: 80,
    min: 82,
    scales: (p, quad) => `unsignedBytes(load<u32>(${p}, ${4 * quad}) & 0x0f0f0f0f)`,
    mins: (p, quad) => `unsignedBytes((load<u32>(${p}, ${4 * quad}) >> 4) & 0x0f0f0f0f)`,
    block: 'const low = <usize>(b >> 2) << 5, shift = (b & 3) << 1;',
    codes: (p, half) => `v128.and(i16x8.shr_u(v128.load(${p} + low, ${16 + 16 * half}), shift), pairs)`,
  },
  Q3_K: {
    scale: 108,
    scales: (p, quad) => {
      const low = `((load<u32>(${p}, ${96 + 4 * (quad & 1)}) >> ${quad < 2 ? 0 : 4}) & 0x0f0f0f0f)`;
      const high = `(((load<u32>(${p}, 104) >> ${2 * quad}) & 0x03030303) << 4)`;
      return `f32x4.sub(unsignedBytes(${low} | ${high}), f32x4.splat(32))`;
    },
    block: 'const low = <usize>(b >> 2) << 5, shift = (b & 3) << 1;',
    codes: (p, half) =>
      `v128.or(v128.and(i16x8.shr_u(v128.load(${p} + low, ${32 + 16 * half}), shift), pairs), ` +
      `i16x8.shl(v128.and(i16x8.shr_u(v128.load(${p}, ${16 * half}), b), bits), 2))`,
    // Signed codes of 4 bits have a bias of 8, of which the file's bias makes half.
    bias: 'fours',
  },
  Q4_K: {
    ...SIX_BIT_PAIRS,
    block: 'const low = <usize>(b >> 1) << 5, shift = (b & 1) << 2;',
    codes: (p, half) => `v128.and(i16x8.shr_u(v128.load(${p} + low, ${16 + 16 * half}), shift), nibbles)`,
  },
  Q5_K: {
    ...SIX_BIT_PAIRS,
    block: 'const low = <usize>(b >> 1) << 5, shift = (b & 1) << 2;',
    codes: (p, half) =>
      `v128.or(v128.and(i16x8.shr_u(v128.load(${p} + low, ${48 + 16 * half}), shift), nibbles), ` +
      `i16x8.shl(v128.and(i16x8.shr_u(v128.load(${p}, ${16 + 16 * half}), b), bits), 4))`,
  },
  Q6_K: {
    scale: 208,
    scales: (p, quad) => `signedBytes(load<u32>(${p}, ${192 + 4 * quad}))`,
    block: `const n = <usize>(b >> 2) << 5, low = (n << 1) + (<usize>(b & 1) << 5), shift = (b & 2) << 1, pair = (b & 3) << 1;`,
    codes: (p, half) =>
      `v128.or(v128.and(i16x8.shr_u(v128.load(${p} + low, ${16 * half}), shift), nibbles), ` +
      `i16x8.shl(v128.and(i16x8.shr_u(v128.load(${p} + n, ${128 + 16 * half}), pair), pairs), 4))`,
  },
  IQ4_XS: {
    scale: 0,
    scales: (p, quad) =>
      `f32x4.sub(unsignedBytes(nibblesToBytes(load<u16>(${p}, ${4 + 2 * quad})) | (pairsToBytes(load<u8>(${p}, ${2 + quad})) << 4)), ` +
      'f32x4.splat(32))',
    block: 'const low = <usize>b << 4;',
    codes: { both: (p) => `v128.load(${p} + low, 8)` },
  },
};

/** Functions that the expressions call. */
export const SPREADS = `
/** Four nibbles, the lowest first, to a byte each. */
@inline function nibblesToBytes(word: u32): u32 {
  const bytes = (word | (word << 8)) & 0x00ff00ff;
  return (bytes | (bytes << 4)) & 0x0f0f0f0f;
}

/** Four pairs of bits, the lowest first, to a byte each. */
@inline function pairsToBytes(byte: u32): u32 {
  const nibbles = (byte | (byte << 12)) & 0x000f000f;
  return (nibbles | (nibbles << 6)) & 0x03030303;
}
`;
