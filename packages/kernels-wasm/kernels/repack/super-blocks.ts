import { GGML_TYPES } from '@halftone/tensor';
import { BLOCK, blockBytes, headerBytes, PANEL } from '../../src/internal/layout.js';
import { blockForm } from '../../src/internal/stored-types.js';
import { unroll } from '../unroll.js';
import { ofRows, storeColumns } from './vectors.js';

type SuperType = 'Q2_K' | 'Q3_K' | 'Q4_K' | 'Q5_K' | 'Q6_K' | 'IQ4_XS';

/** Where a type keeps what. Expressions read the row at a pointer `p`. */
interface SuperBlock {
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

const TYPES: Readonly<Record<SuperType, SuperBlock>> = {
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

export function superBlocksSource(): string {
  return SPREADS + (Object.keys(TYPES) as SuperType[]).map(kernel).join('');
}

const SPREADS = `
/** Bytes of two codes to bytes of four: those of the upper eight bytes go between the bits of the lower ones. */
@inline function crumbs(pairs: v128): v128 {
  return v128.or(pairs, i16x8.shl(v128.shuffle<i64>(pairs, pairs, 1, 1), 2));
}

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

function kernel(type: SuperType): string {
  const { layout } = blockForm(type);
  const { scale, min, scales, mins, block } = TYPES[type];
  const step = blockBytes(layout);
  const { blockSize, blockBytes: fileBytes } = GGML_TYPES[type];
  const quads = (blockSize / BLOCK) * (layout.groups / 4);
  const factor = (offset: number) => ofRows((p) => `halves(i32x4.splat(load<u16>(${p}, ${offset})))`);
  return `
export function repack${type}(from: usize, rowBytes: usize, to: usize, blocks: i32, panels: i32): void {
  const nibbles = i32x4.splat(LOW_NIBBLES), pairs = i32x4.splat(LOW_PAIRS), bits = i32x4.splat(LOW_BITS), fours = i32x4.splat(FOURS);
  do {
    let block = from, count = blocks;
    do {
      let p0 = block, start = to, half = 2;
      do {
        const p1 = p0 + rowBytes, p2 = p1 + rowBytes, p3 = p2 + rowBytes;
        ${parameters(type, factor(scale), scales, 0, quads)}
        ${min === undefined || mins === undefined ? '' : parameters(type, factor(min).map(negative), mins, 32 * layout.groups, quads)}
        let out = start, b = 0;
        do {
          ${block}
          ${codes(type)}
          out += ${step};
        } while (++b < ${blockSize / BLOCK});
        p0 = p3 + rowBytes; start += 16;
      } while (--half);
      block += ${fileBytes}; to += ${(blockSize / BLOCK) * step};
    } while (--count);
    from += rowBytes << 3;
  } while (--panels);
}
`;
}

function negative(vector: string): string {
  return `f32x4.neg(${vector})`;
}

/** Scales or offsets of all groups of a super-block: a code times the row's factor, each rounded. */
function parameters(
  type: SuperType,
  factors: readonly string[],
  codesOf: (p: string, quad: number) => string,
  at: number,
  quads: number,
): string {
  const { layout } = blockForm(type);
  const offset = (group: number) =>
    Math.floor(group / layout.groups) * blockBytes(layout) + (group % layout.groups) * PANEL * 4 + at;
  const stores = unroll(quads, (quad) => {
    const rows = ofRows((p) => `f32x4.mul(${codesOf(p, quad)}, d${p})`);
    return storeColumns(
      rows,
      'start',
      [0, 1, 2, 3].map((group) => offset(4 * quad + group)),
    );
  });
  return `{
      const ${factors.map((expression, row) => `dp${row} = ${expression}`).join(', ')};
      ${stores}
    }`;
}

function codes(type: SuperType): string {
  const { layout } = blockForm(type);
  const { codes: codesOf, bias } = TYPES[type];
  const header = headerBytes(layout);
  const offsets = (at: number) => [at, at + 32, at + 64, at + 96];
  if (typeof codesOf === 'object') return storeColumns(ofRows(codesOf.both), 'out', offsets(header));
  if (layout.storage === 'crumb') {
    const four = (p: string) => `crumbs(v128.or(${codesOf(p, 0)}, i16x8.shl(${codesOf(p, 1)}, 4)))`;
    return storeColumns(ofRows(four), 'out', offsets(header).slice(0, 2));
  }
  if (layout.storage === 'nibble') {
    const both = (p: string) => {
      const pair = `v128.or(${codesOf(p, 0)}, i16x8.shl(${codesOf(p, 1)}, 4))`;
      return bias === undefined ? pair : `i8x16.add(${pair}, ${bias})`;
    };
    return storeColumns(ofRows(both), 'out', offsets(header));
  }
  return unroll(2, (half) =>
    storeColumns(
      ofRows((p) => codesOf(p, half)),
      'out',
      offsets(header + 128 * half),
    ),
  );
}
