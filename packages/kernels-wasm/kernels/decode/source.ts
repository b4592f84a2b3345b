import { GGML_TYPES } from '@halftone/tensor';
import { blockForm, REPACKED_TYPES, type RepackedType } from '../../src/internal/stored-types.js';
import { BLOCK_CODES, HALVED_POWERS } from '../ggml/blocks.js';
import { SPREADS, SUPER_BLOCKS, type SuperType } from '../ggml/super-blocks.js';
import { VECTORS } from '../ggml/vectors.js';
import { unroll } from '../unroll.js';

/**
 * ggml blocks to float32: `decode<type>(from, to, blocks)`. Both builds are the same: products and sums are rounded one by one,
 * as ggml rounds them.
 */
export function decodeSource(): string {
  return [VECTORS, HALVED_POWERS, SPREADS, HALF, TABLES, ...REPACKED_TYPES.map(kernel)].join('\n');
}

/** A binary16 value in all lanes. */
const HALF = `
@inline function half(word: u32): v128 {
  const magnitude = (word & 0x7fff) << 13;
  const special: u32 = magnitude > 0x0f7fffff ? 0x7f800000 : 0;
  const value = reinterpret<u32>(reinterpret<f32>(magnitude) * reinterpret<f32>(0x77800000));
  return i32x4.splat(value | special | ((word >> 15) << 31));
}
`;

/** What 4-bit codes stand for, as signed bytes. Mutable for the reason given at `CONSTANTS`. */
const TABLES = (['IQ4_NL', 'MXFP4'] as const)
  .flatMap((type) => {
    const words = new BigInt64Array(Int8Array.from(blockForm(type).entries).buffer);
    return Array.from(words, (word, i) => `export let ${type}_${i}: i64 = ${word};`);
  })
  .join('\n');

function isSuperType(type: RepackedType): type is SuperType {
  return Object.hasOwn(SUPER_BLOCKS, type);
}

function kernel(type: RepackedType): string {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const table = type === 'MXFP4' ? 'MXFP4' : 'IQ4_NL';
  return `
export function decode${type}(from: usize, to: usize, blocks: i32): void {
  const nibbles = i32x4.splat(LOW_NIBBLES), pairs = i32x4.splat(LOW_PAIRS), bits = i32x4.splat(LOW_BITS);
  const sixteens = i32x4.splat(SIXTEENS), powers = i64x2.splat(POWERS);
  const center = i8x16.splat(${centerOf(type)}), table = i64x2.replace_lane(i64x2.splat(${table}_0), 1, ${table}_1);
  do {
    ${isSuperType(type) ? superBlock(type) : block(type)}
    from += ${blockBytes}; to += ${4 * blockSize};
  } while (--blocks);
}
`;
}

/** What is subtracted from codes. Files store those of Q3_K with half the bias that panels have. */
function centerOf(type: RepackedType): number {
  return type === 'Q3_K' ? 4 : blockForm(type).center;
}

function block(type: Exclude<RepackedType, SuperType>): string {
  const { offsets } = blockForm(type).layout;
  const stored = BLOCK_CODES[type === 'IQ4_NL' ? 'Q4_0' : type].map((vector) => vector('from'));
  const vectors = stored.length === 1 ? nibbles(stored[0]) : stored;
  const scale = type === 'MXFP4' ? 'halvedPowers(i32x4.splat(load<u8>(from)))' : 'half(load<u16>(from))';
  return `const scale = ${scale}${offsets ? ', offset = half(load<u16>(from, 2))' : ''};
    ${vectors.map((codes, i) => store(values(type, codes), 64 * i, 'scale', offsets ? ['add', 'offset'] : undefined)).join('\n')}`;
}

function superBlock(type: SuperType): string {
  const { layout } = blockForm(type);
  const { scale, min, scales, mins, block, codes } = SUPER_BLOCKS[type];
  const halves = (b: number) => {
    const stored = typeof codes === 'object' ? nibbles(codes.both('from')) : [0, 1].map((half) => codes('from', half));
    return stored.map((vector, half) => {
      const lane = (b * layout.groups + (layout.groups === 2 ? half : 0)) % 4;
      const [group, less] = ['scales', 'mins'].map(
        (name) => `i32x4.shuffle(${name}, ${name}, ${lane}, ${lane}, ${lane}, ${lane})`,
      );
      return store(values(type, vector), 128 * b + 64 * half, group, mins && ['sub', less]);
    });
  };
  const blocksOfQuad = 4 / layout.groups;
  const quad = (q: number) => `{
      const scales = f32x4.mul(${scales('from', q)}, scale);
      ${mins === undefined ? '' : `const mins = f32x4.mul(${mins('from', q)}, min);`}
      ${unroll(blocksOfQuad, (i) => `{ const b = ${q * blocksOfQuad + i}; ${block} ${halves(q * blocksOfQuad + i).join('\n')} }`)}
    }`;
  return `const scale = half(load<u16>(from, ${scale}))${min === undefined ? '' : `, min = half(load<u16>(from, ${min}))`};
    ${unroll(8 / blocksOfQuad, quad)}`;
}

/** The codes in the low and in the high nibbles of a vector. */
function nibbles(bytes: string): string[] {
  return [`v128.and(${bytes}, nibbles)`, `v128.and(i16x8.shr_u(${bytes}, 4), nibbles)`];
}

/** Signed bytes that codes stand for. */
function values(type: RepackedType, codes: string): string {
  if (blockForm(type).layout.storage === 'nibbleTable') return `i8x16.swizzle(table, ${codes})`;
  return centerOf(type) === 0 ? codes : `i8x16.sub(${codes}, center)`;
}

/** Sixteen signed bytes times a scale, plus an offset or less a minimum, to `to`. */
function store(
  bytes: string,
  at: number,
  scale: string,
  shift?: readonly [operation: 'add' | 'sub', by: string],
): string {
  const vector = (i: number) => {
    const words = i < 2 ? 'low' : 'high';
    const integers = `i32x4.extend_${i % 2 === 0 ? 'low' : 'high'}_i16x8_s(${words})`;
    const product = `f32x4.mul(f32x4.convert_i32x4_s(${integers}), s)`;
    return `v128.store(to, ${shift ? `f32x4.${shift[0]}(${product}, t)` : product}, ${at + 16 * i});`;
  };
  return `{
      const bytes = ${bytes}, low = i16x8.extend_low_i8x16_s(bytes), high = i16x8.extend_high_i8x16_s(bytes);
      const s = ${scale}${shift ? `, t = ${shift[1]}` : ''};
      ${unroll(4, vector)}
    }`;
}
