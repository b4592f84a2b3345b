import { GGML_TYPES, type GgmlType } from '@halftone/tensor';
import { blockBytes, headerBytes } from '../../src/internal/layout.js';
import { blockForm } from '../../src/internal/stored-types.js';
import { ofRows, storeColumns } from './vectors.js';

/** Types whose blocks hold 32 elements. */
type PlainType = 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q8_0' | 'MXFP4';

/** Vectors of codes of the row at a pointer: one with two codes in a byte, or two with one code in a byte. */
const CODES: Readonly<Record<PlainType, readonly ((pointer: string) => string)[]>> = {
  Q4_0: [(p) => `v128.load(${p}, 2)`],
  Q4_1: [(p) => `v128.load(${p}, 4)`],
  // Signed codes of 5 bits are held as 6-bit ones with a bias of 32, of which the file's bias makes half.
  Q5_0: fiveBits(2).map((expression) => (p: string) => `i8x16.add(${expression(p)}, sixteens)`),
  Q5_1: fiveBits(4),
  Q8_0: [(p) => `v128.load(${p}, 2)`, (p) => `v128.load(${p}, 18)`],
  MXFP4: [(p) => `v128.load(${p}, 1)`],
};

export function blocksSource(): string {
  return HALVED_POWERS + (Object.keys(CODES) as PlainType[]).map(kernel).join('');
}

/** E8M0 to half its value, 2^(byte - 128). The first two are subnormal; 255 is 2^127, as ggml has it. */
const HALVED_POWERS = `
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

function kernel(type: PlainType): string {
  const { layout } = blockForm(type);
  const header = headerBytes(layout);
  const codes = CODES[type].map((vector, half) => {
    const at = header + 128 * half;
    return storeColumns(ofRows(vector), 'out', [at, at + 32, at + 64, at + 96]);
  });
  const [float, word] = type === 'MXFP4' ? ['halvedPowers', 'u8'] : ['halves', 'u16'];
  const parameter = (at: number) => `${float}(lanes(${ofRows((p) => `load<${word}>(${p}, ${at})`).join(', ')}))`;
  return `
export function repack${type}(from: usize, rowBytes: usize, to: usize, blocks: i32, panels: i32): void {
  const nibbles = i32x4.splat(LOW_NIBBLES), sixteens = i32x4.splat(SIXTEENS), powers = i64x2.splat(POWERS);
  do {
    let block = from, count = blocks;
    do {
      let p0 = block, out = to, half = 2;
      do {
        const p1 = p0 + rowBytes, p2 = p1 + rowBytes, p3 = p2 + rowBytes;
        v128.store(out, ${parameter(0)});
        ${layout.offsets ? `v128.store(out, ${parameter(2)}, 32);` : ''}
        ${codes.join('\n        ')}
        p0 = p3 + rowBytes; out += 16;
      } while (--half);
      block += ${GGML_TYPES[type satisfies GgmlType].blockBytes}; to += ${blockBytes(layout)};
    } while (--count);
    from += rowBytes << 3;
  } while (--panels);
}
`;
}
