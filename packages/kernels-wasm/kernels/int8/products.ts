import {
  EXPANDED_BLOCKS,
  GROUP_HEADER,
  GROUP_LEVELS,
  type Int8Storage,
  int8BlockBytes,
  NIBBLE_CENTER,
  TILE_ROWS,
} from '../../src/internal/int8-layout.js';
import { addDot16, type Build, splat32, unroll } from '../unroll.js';
import { blockDots, expandSource, masks } from './operands.js';

/** Blocks that 32 bits can sum when products are 256 times too large: 15 * 128 * 256 for each column. */
const SCALED_BLOCKS = 128;

/** Sums of integers over groups of columns, one factor for a row of \`x\` and one for an output feature at the end. */
export function productsSource(build: Build): string {
  const bytes = build === 'relaxed';
  return [
    FINISH,
    foldSource(true),
    foldSource(false),
    tilesSource(),
    expandSource(false),
    bytes ? byteBlocksSource() : expandSource(true),
    ...(['byte', 'nibble'] as const).flatMap((storage) => [gemvSource(build, storage), gemmSource(build, storage)]),
  ].join('');
}

/** A sum over a group, added to the sums over the groups before it. */
function addGroup(total: string, sum: string, header: string): string {
  return `if (level == ${GROUP_LEVELS.none}) ${total} = ${sum};
      else if (level == ${GROUP_LEVELS.integer}) ${total} = i32x4.add(${total}, i32x4.mul(${sum}, ${header}));
      else ${total} = f32x4.add(${total}, f32x4.mul(f32x4.convert_i32x4_s(${sum}), ${header}));`;
}

const FINISH = `
@inline function finishRow(out: usize, low: v128, high: v128, level: i32, scale: v128, factors: usize, bias: usize, features: i32): void {
  if (level != ${GROUP_LEVELS.float}) { low = f32x4.convert_i32x4_s(low); high = f32x4.convert_i32x4_s(high); }
  low = f32x4.add(f32x4.mul(low, f32x4.mul(v128.load(factors), scale)), v128.load(bias));
  high = f32x4.add(f32x4.mul(high, f32x4.mul(v128.load(factors, 16), scale)), v128.load(bias, 16));
  storeFeatures(out, low, high, features);
}

function clear(sums: usize, rows: i32): void {
  do { v128.store(sums, i32x4.splat(0)); v128.store(sums, i32x4.splat(0), 16); sums += 32; } while (--rows);
}
`;

/** \`corrected\`: what was added to the codes is still in the sums, times the sums of the activations. */
function foldSource(corrected: boolean): string {
  return `
function fold${corrected ? 'Corrected' : ''}(sums: usize, totals: usize, rows: i32, header: usize, level: i32, groupSums: usize): void {
  const h0 = v128.load(header), h1 = v128.load(header, 16);
  do {
    let s0 = v128.load(sums), s1 = v128.load(sums, 16), t0 = v128.load(totals), t1 = v128.load(totals, 16);
    ${corrected ? correction('groupSums') : ''}
      ${addGroup('t0', 's0', 'h0')}
      ${addGroup('t1', 's1', 'h1')}
    v128.store(totals, t0); v128.store(totals, t1, 16);
    sums += 32; totals += 32; groupSums += 4;
  } while (--rows);
}
`;
}

function correction(groupSums: string): string {
  return `const shift = i32x4.splat(-${NIBBLE_CENTER} * load<i32>(${groupSums})); s0 = i32x4.add(s0, shift); s1 = i32x4.add(s1, shift);`;
}

function gemvSource(build: Build, storage: Int8Storage): string {
  const nibbles = storage === 'nibble';
  const scaled = nibbles && build === 'simd';
  const rowBlock = nibbles && build === 'relaxed' ? 32 : 64;
  const dots = `        let x: v128${nibbles ? ', codes0: v128, codes1: v128' : ''}${nibbles && !scaled ? ', t0: v128, t1: v128' : ''};
${blockDots(nibbles, build)}
        w += ${int8BlockBytes(storage)}; a += ${rowBlock};`;
  const sum = scaled
    ? `let left = blocks, r0 = i32x4.splat(0), r1 = r0;
      do {
        let b = min(left, ${SCALED_BLOCKS}), s0 = i32x4.splat(0), s1 = s0;
        left -= b;
        do {
${dots}
        } while (--b);
        r0 = i32x4.add(r0, i32x4.shr_s(s0, 8)); r1 = i32x4.add(r1, i32x4.shr_s(s1, 8));
      } while (left > 0);
      let s0 = r0, s1 = r1;`
    : `let s0 = i32x4.splat(0), s1 = s0, b = blocks;
      do {
${dots}
      } while (--b);`;
  return `
/** One row. */
export function ${storage}Gemv(w: usize, activations: usize, groupSums: usize, out: usize, panels: i32, groups: i32, blocks: i32, level: i32, factors: usize, bias: usize, features: i32, scales: usize): void {
  ${masks(nibbles, build)}
  const scale = ${splat32('scales')};
  do {
    let t0 = i32x4.splat(0), t1 = t0, a = activations, g = groups, groupSum = groupSums;
    do {
      const header = w;
      if (level) w += ${GROUP_HEADER};
      ${sum}
      ${nibbles ? correction('groupSum') : ''}
      ${addGroup('t0', 's0', 'v128.load(header)')}
      ${addGroup('t1', 's1', 'v128.load(header, 16)')}
      groupSum += 4;
    } while (--g);
    finishRow(out, t0, t1, level, scale, factors, bias, features);
    out += 32; factors += 32; bias += 32; features -= 8;
  } while (--panels);
}
`;
}

/** \`scratch\` holds the sums of a group and of all groups, then expanded operands. */
function gemmSource(build: Build, storage: Int8Storage): string {
  const bytes = storage === 'nibble' && build === 'relaxed';
  const rows = bytes ? 'rows' : `((rows + ${TILE_ROWS - 1}) & -${TILE_ROWS})`;
  const group = bytes
    ? `byteBlocks(w, a, sums, rows, blocks);
      w += <usize>blocks * ${int8BlockBytes(storage)}; a += <usize>blocks * <usize>rows * 32;
      foldCorrected(sums, totals, rows, header, level, groupSum);`
    : `let left = blocks;
      do {
        const b = min(left, ${EXPANDED_BLOCKS});
        ${storage}Expand(w, b, operands);
        multiplyTiles(operands, a, sums, allRows / ${TILE_ROWS}, b << 3, tileBytes);
        w += <usize>b * ${int8BlockBytes(storage)}; a += <usize>b * ${32 * 2 * TILE_ROWS}; left -= b;
      } while (left > 0);
      fold(sums, totals, rows, header, level, groupSum);`;
  return `
export function ${storage}Gemm(w: usize, activations: usize, groupSums: usize, out: usize, rows: i32, panels: i32, groups: i32, blocks: i32, level: i32, factors: usize, bias: usize, features: i32, stride: i32, scales: usize, scratch: usize): void {
  const allRows = ${rows}, sums = scratch, totals = sums + (<usize>allRows << 5);
  ${bytes ? '' : `const operands = totals + (<usize>allRows << 5), tileBytes = <usize>groups * blocks * ${32 * 2 * TILE_ROWS};`}
  do {
    let a = activations, g = groups, groupSum = groupSums;
    clear(totals, rows);
    do {
      const header = w;
      if (level) w += ${GROUP_HEADER};
      clear(sums, allRows);
      ${group}
      groupSum += <usize>rows << 2;
    } while (--g);
    let t = totals, to = out, s = scales, row = rows;
    do {
      finishRow(to, v128.load(t), v128.load(t, 16), level, ${splat32('s')}, factors, bias, features);
      t += 32; to += <usize>stride << 2; s += 4;
    } while (--row);
    out += 32; factors += 32; bias += 32; features -= 8;
  } while (--panels);
}
`;
}

/** Tiles of rows times expanded operands; \`steps\` counts two pairs of columns. */
function tilesSource(): string {
  const pair = (p: number) => `      w0 = v128.load(w, ${32 * p}); w1 = v128.load(w, ${32 * p + 16});
${unroll(TILE_ROWS, (i) => `      x = ${splat32('from', 4 * TILE_ROWS * p + 4 * i)}; ${addDot16(`s${i}0`, 'w0', 'x')} ${addDot16(`s${i}1`, 'w1', 'x')}`)}`;
  return `
function multiplyTiles(operands: usize, a: usize, sums: usize, tiles: i32, steps: i32, tileBytes: usize): void {
  do {
    let ${unroll(TILE_ROWS, (i) => `s${i}0 = v128.load(sums, ${32 * i}), s${i}1 = v128.load(sums, ${32 * i + 16})`, ', ')};
    let w = operands, from = a, n = steps, w0: v128, w1: v128, x: v128;
    do {
${unroll(2, pair)}
      w += 64; from += ${8 * TILE_ROWS};
    } while (--n);
${unroll(TILE_ROWS, (i) => `    v128.store(sums, s${i}0, ${32 * i}); v128.store(sums, s${i}1, ${32 * i + 16});`)}
    a += tileBytes; sums += ${32 * TILE_ROWS};
  } while (--tiles);
}
`;
}

/** Nibbles of 4 features and 32 columns in registers, then over the rows. */
function byteBlocksSource(): string {
  const product = (i: number) => `i16x8.relaxed_dot_i8x16_i7x16_s(${splat32('x', 4 * i)}, w${i})`;
  const pairs = unroll(4, (i) => `const p${i} = i16x8.add(${product(2 * i)}, ${product(2 * i + 1)});`, ' ');
  const half = (h: number) => `    {
      let codes: v128;
${unroll(4, (v) => `      codes = v128.load(w, ${32 * v + 16 * h}); const w${v} = v128.and(codes, nibble), w${4 + v} = i8x16.shr_u(codes, 4);`)}
      let x = a, to = sums + ${16 * h}, row = rows;
      do {
        ${pairs}
        const words = i16x8.add(i16x8.add(p0, p1), i16x8.add(p2, p3));
        v128.store(to, i32x4.add(v128.load(to), i32x4.dot_i16x8_s(words, ones)));
        x += 32; to += 32;
      } while (--row);
    }`;
  return `
function byteBlocks(w: usize, a: usize, sums: usize, rows: i32, blocks: i32): void {
  ${masks(true, 'relaxed')}
  do {
${unroll(2, half)}
    w += ${int8BlockBytes('nibble')}; a += <usize>rows << 5;
  } while (--blocks);
}
`;
}
