import { BLOCK, DEPTH, TABLE } from '../../src/internal/layout.js';
import { type Build, unroll } from '../unroll.js';
import { codeVectors, fieldMask, fields, lookUp } from './codes.js';
import { floatGemmSource } from './float.js';

/**
 * Float activations: blocks of the weight become float panels in scratch memory, 256 columns at a time, and go through the float
 * kernels. `groups`, `offsets` and `bits` describe the layout; codes of less than 8 bits stand for entries of `table`.
 */
export function dequantizeSource(build: Build): string {
  return `${tableBlockSource(build, 'crumb')}${tableBlockSource(build, 'nibble')}${BYTE_BLOCK}
function columnBytes(k: i32, groups: i32, offsets: i32, bits: i32): usize {
  return ((groups << (offsets ? 6 : 5)) + (bits << 5)) * (k >> 5);
}

function dequantize(w: usize, blocks: i32, groups: i32, offsets: i32, bits: i32, center: f32, table: usize, out: usize): usize {
  const start = out, step = columnBytes(${BLOCK}, groups, offsets, bits);
  do {
    if (bits == 4) nibbleFloats(w, groups, offsets, table, out);
    else if (bits == 2) crumbFloats(w, groups, offsets, table, out);
    else byteFloats(w, groups, offsets, center, out);
    w += step; out += ${BLOCK * 32};
  } while (--blocks);
  return start;
}

/** \`k\` is a multiple of ${BLOCK}; \`scratch\` holds 32 bytes, then a panel of ${DEPTH} columns. */
export function quantizedFloatGemv(w: usize, x: usize, out: usize, panels: i32, k: i32, bias: usize, features: i32, scratch: usize, groups: i32, offsets: i32, bits: i32, center: f32, table: usize): void {
  const floats = scratch + 32;
  do {
    fillSums(scratch, bias, 1);
    for (let k0 = 0; k0 < k; k0 += ${DEPTH}) {
      const depth = min(k - k0, ${DEPTH});
      dequantize(w, depth >> 5, groups, offsets, bits, center, table, floats);
      floatColumns(floats, x + (<usize>k0 << 2), depth, scratch);
      w += columnBytes(depth, groups, offsets, bits);
    }
    storeSums(scratch, out, 1, 0, features);
    bias += 32; out += 32; features -= 8;
  } while (--panels);
}
${floatGemmSource(build, {
  name: 'quantizedFloatGemm',
  parameters: ', groups: i32, offsets: i32, bits: i32, center: f32, table: usize',
  panelBytes: 'columnBytes(k, groups, offsets, bits)',
  start: 'w + columnBytes(k0, groups, offsets, bits)',
  panel: 'dequantize(wp, depth >> 5, groups, offsets, bits, center, table, floats)',
})}`;
}

/**
 * `scale * entry + offset`, each step rounded. Bytes of entries are looked up plane by plane, for codes in the order of columns,
 * and interleaved.
 */
function tableBlockSource(build: Build, storage: 'crumb' | 'nibble'): string {
  const vectors = unroll(codeVectors(storage), (vector) => {
    const columns = fields(storage, vector).map(({ expression, index }) => {
      const g = index >> 2;
      const store = (j: number, low: string, high: string, from: number) =>
        `v128.store(to, f32x4.add(f32x4.mul(v128.shuffle<i16>(${low}, ${high}, ${unroll(4, (i) => `${from + i}, ${8 + from + i}`, ', ')}), scale${g}), offset${g}), ${(4 * index + j) * 32});`;
      const interleave = (from: number) => unroll(8, (i) => `${from + i}, ${16 + from + i}`, ', ');
      return `    bytes = ${expression('codes')};
    bytes = v128.shuffle<i8>(bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    ${unroll(4, (plane) => `b${plane} = ${lookUp(build, `plane${plane}`, 'bytes')};`, ' ')}
    low = v128.shuffle<i8>(b0, b1, ${interleave(0)}); high = v128.shuffle<i8>(b2, b3, ${interleave(0)});
    ${store(0, 'low', 'high', 0)} ${store(1, 'low', 'high', 4)}
    low = v128.shuffle<i8>(b0, b1, ${interleave(8)}); high = v128.shuffle<i8>(b2, b3, ${interleave(8)});
    ${store(2, 'low', 'high', 0)} ${store(3, 'low', 'high', 4)}`;
    });
    return `    codes = v128.load(from, ${32 * vector});\n${columns.join('\n')}`;
  });
  return `
function ${storage}Floats(w: usize, groups: i32, offsets: i32, table: usize, out: usize): void {
  const second: usize = groups == 2 ? 32 : 0, shift = <usize>groups << 5;
  const ${unroll(4, (plane) => `plane${plane} = v128.load(table, ${TABLE * plane})`, ', ')};
  ${fieldMask(storage)}
  let codes: v128, bytes: v128, b0: v128, b1: v128, b2: v128, b3: v128, low: v128, high: v128;
  for (let h: usize = 0; h < 32; h += 16) {
    const scales = w + h, from = scales + (offsets ? shift << 1 : shift), to = out + h;
    const scale0 = v128.load(scales), scale1 = v128.load(scales + second);
    let offset0 = f32x4.splat(0), offset1 = offset0;
    if (offsets) { offset0 = v128.load(scales + shift); offset1 = v128.load(scales + shift + second); }
${vectors}
  }
}
`;
}

/** `scale * (code - center) + offset`, each step rounded. The second group's parameters are taken over half-way. */
const BYTE_BLOCK = `
function byteFloats(w: usize, groups: i32, offsets: i32, center: f32, out: usize): void {
  const zero = f32x4.splat(center), second: usize = groups == 2 ? 32 : 0, shift = <usize>groups << 5;
  for (let h: usize = 0; h < 32; h += 16) {
    const scales = w + h;
    let scale0 = v128.load(scales), scale1 = v128.load(scales + second), offset0 = f32x4.splat(0), offset1 = offset0;
    if (offsets) { offset0 = v128.load(scales + shift); offset1 = v128.load(scales + shift + second); }
    let from = scales + (offsets ? shift << 1 : shift), to = out + h, v = 8;
    do {
      const codes = v128.load(from);
${unroll(4, (j) => {
  const code = `f32x4.convert_i32x4_s(i32x4.shr_s(i32x4.shl(codes, ${24 - 8 * j}), 24))`;
  return `      v128.store(to, f32x4.add(f32x4.mul(f32x4.sub(${code}, zero), scale0), offset0), ${32 * j});`;
})}
      if (v == 5) { scale0 = scale1; offset0 = offset1; }
      from += 32; to += 128;
    } while (--v);
  }
}
`;
