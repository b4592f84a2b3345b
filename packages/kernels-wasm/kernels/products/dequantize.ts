import { BLOCK, codeBytes, DEPTH, type Storage } from '../../src/internal/layout.js';
import { type Build, unroll } from '../unroll.js';
import { codeVectors } from './codes.js';
import { floatGemmSource } from './float.js';

/**
 * Float activations: blocks of the weight become float panels in scratch memory, 256 columns at a time, and go through the float
 * kernels. `groups`, `offsets` and `nibbles` describe the layout.
 */
export function dequantizeSource(build: Build): string {
  return `${blockSource('nibble')}${blockSource('byte')}
function columnBytes(k: i32, groups: i32, offsets: i32, nibbles: i32): usize {
  return ((groups << (offsets ? 6 : 5)) + (nibbles ? ${codeBytes('nibble')} : ${codeBytes('byte')})) * (k >> 5);
}

function dequantize(w: usize, blocks: i32, groups: i32, offsets: i32, nibbles: i32, center: f32, out: usize): usize {
  const start = out, step = columnBytes(${BLOCK}, groups, offsets, nibbles);
  do {
    if (nibbles) nibbleFloats(w, groups, offsets, center, out);
    else byteFloats(w, groups, offsets, center, out);
    w += step; out += ${BLOCK * 32};
  } while (--blocks);
  return start;
}

/** \`k\` is a multiple of ${BLOCK}; \`scratch\` holds 32 bytes, then a panel of ${DEPTH} columns. */
export function quantizedFloatGemv(w: usize, x: usize, out: usize, panels: i32, k: i32, bias: usize, features: i32, scratch: usize, groups: i32, offsets: i32, nibbles: i32, center: f32): void {
  const floats = scratch + 32;
  do {
    fillSums(scratch, bias, 1);
    for (let k0 = 0; k0 < k; k0 += ${DEPTH}) {
      const depth = min(k - k0, ${DEPTH});
      dequantize(w, depth >> 5, groups, offsets, nibbles, center, floats);
      floatColumns(floats, x + (<usize>k0 << 2), depth, scratch);
      w += columnBytes(depth, groups, offsets, nibbles);
    }
    storeSums(scratch, out, 1, 0, features);
    bias += 32; out += 32; features -= 8;
  } while (--panels);
}
${floatGemmSource(build, {
  name: 'quantizedFloatGemm',
  parameters: ', groups: i32, offsets: i32, nibbles: i32, center: f32',
  panelBytes: 'columnBytes(k, groups, offsets, nibbles)',
  start: 'w + columnBytes(k0, groups, offsets, nibbles)',
  panel: 'dequantize(wp, depth >> 5, groups, offsets, nibbles, center, floats)',
})}`;
}

/** `scale * (code - center) + offset`, each step rounded. A 32-bit lane of codes holds columns of one row. */
function blockSource(storage: Storage): string {
  const halves = storage === 'nibble' ? 2 : 1;
  const columns = unroll(4 * halves, (i) => {
    const [half, j] = [i >> 2, i & 3];
    const code =
      storage === 'nibble'
        ? `v128.and(i32x4.shr_u(codes, ${8 * j + 4 * half}), nibble)`
        : `i32x4.shr_s(i32x4.shl(codes, ${24 - 8 * j}), 24)`;
    const s = half === 0 ? '0' : '1';
    const value = `f32x4.add(f32x4.mul(f32x4.sub(f32x4.convert_i32x4_s(${code}), zero), scale${s}), offset${s})`;
    return `      v128.store(to, ${value}, ${(16 * half + j) * 32});`;
  });
  const vectors = codeVectors(storage);
  // Bytes: the second group's parameters are taken over half-way.
  return `
function ${storage}Floats(w: usize, groups: i32, offsets: i32, center: f32, out: usize): void {
  const zero = f32x4.splat(center), second: usize = groups == 2 ? 32 : 0, shift = <usize>groups << 5;
  ${storage === 'nibble' ? 'const nibble = i32x4.splat(NIBBLE);' : ''}
  for (let h: usize = 0; h < 32; h += 16) {
    const scales = w + h;
    let scale0 = v128.load(scales), scale1 = v128.load(scales + second), offset0 = f32x4.splat(0), offset1 = offset0;
    if (offsets) { offset0 = v128.load(scales + shift); offset1 = v128.load(scales + shift + second); }
    let from = scales + (offsets ? shift << 1 : shift), to = out + h, v = ${vectors};
    do {
      const codes = v128.load(from);
${columns}
      ${storage === 'byte' ? `if (v == ${vectors / 2 + 1}) { scale0 = scale1; offset0 = offset1; }` : ''}
      from += 32; to += 128;
    } while (--v);
  }
}
`;
}
