import { SIDE, STORED } from '../../src/internal/attention-layout.js';
import { type Build, multiplyAdd, unroll } from '../unroll.js';

/** Stored keys and values to float32 rows of a multiple of 4 channels, a tile at a time. Not `coded`: they are float32 already. */
export function entriesSource(build: Build, coded: boolean): string {
  return `${coded ? decodersSource(build) : ''}
/** Rows \`t .. t + count\` of a side: where they are, or decoded at \`to\`. */
function entryRows(side: usize, t: i32, count: i32, d: i32, depth: i32, to: usize): usize {
  const type = ${coded ? `load<i32>(side, ${SIDE.type})` : STORED.f32}, data = load<usize>(side, ${SIDE.data});
  if (type == ${STORED.f32} && d == depth) return data + (<usize>t * <usize>d << 2);
  const end = t + count, step = <usize>depth << 2;
  let o = to;
  do {
    // The pad; what lies before it is overwritten.
    if (d != depth) v128.store(o + step - 16, i32x4.splat(0));
    if (type == ${STORED.f32}) memory.copy(o, data + (<usize>t * <usize>d << 2), <usize>d << 2);
    else decodeRow(side, type, data, t, d, o);
    o += step;
  } while (++t < end);
  return to;
}
`;
}

function decodersSource(build: Build): string {
  return `
${CONVERSIONS}
${[false, true].map((nibbles) => tokenRun(build, nibbles)).join('')}
${[false, true].flatMap((nibbles) => [false, true].map((offsets) => channelRow(build, nibbles, offsets))).join('')}
${tokenRow(false)}${tokenRow(true)}
@inline function decodeRow(side: usize, type: i32, data: usize, t: i32, d: i32, o: usize): void {
  if (type == ${STORED.f16}) halfRow(data + (<usize>t * <usize>d << 1), d, o);
  else if (type == ${STORED.int8Token}) byteTokenRow(side, data, t, d, o);
  else if (type == ${STORED.int4Token}) nibbleTokenRow(side, data, t, d, o);
  else decodeChannels(side, type, data, t, d, o);
}

function decodeChannels(side: usize, type: i32, data: usize, t: i32, d: i32, o: usize): void {
  const run = <usize>(t / load<i32>(side, ${SIDE.groupSize})) * <usize>d << 2;
  const scales = load<usize>(side, ${SIDE.scales}) + run, offsets = load<usize>(side, ${SIDE.offsets});
  if (type == ${STORED.int8Channel}) {
    const codes = data + <usize>t * <usize>d;
    if (offsets) byteChannelOffsetRow(codes, d, scales, offsets + run, o); else byteChannelRow(codes, d, scales, 0, o);
  } else {
    const codes = data + <usize>t * <usize>((d + 1) >> 1);
    if (offsets) nibbleChannelOffsetRow(codes, d, scales, offsets + run, o); else nibbleChannelRow(codes, d, scales, 0, o);
  }
}
`;
}

const CONVERSIONS = `
export let LOW_NIBBLES: i32 = 0x0f;
export let EIGHT: i32 = 8;
export let HALF_BITS: i32 = <i32>0x8fffe000;
export let HALF_UNIT: f32 = 5.192296858534828e33;
export let HALF_END: f32 = 65536;
/** The exponent of infinities and NaN, without the sign. */
export let HALF_TOP: i32 = 0xf800;
export let INFINITE_EXPONENT: i32 = 0x7f800000;

/** Code \`i\` of a row of signed nibbles, low nibble first. */
@inline function nibble(codes: usize, i: i32): i32 {
  const byte = <i32>load<u8>(codes + (i >> 1));
  return ((i & 1 ? byte >> 4 : byte & 15) ^ 8) - 8;
}

/** Sixteen signed nibbles of eight bytes. */
@inline function nibbles(codes: usize, mask: v128, eight: v128): v128 {
  const b = v128.load64_zero(codes), low = v128.and(b, mask), high = i8x16.shr_u(b, 4);
  const both = v128.shuffle<i8>(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  return i8x16.sub(v128.xor(both, eight), eight);
}

/** Bits of float16 in 32-bit lanes, sign-extended: moved to their places in a float32 whose exponent is 112 too small. */
@inline function halves(h: v128, mask: v128, unit: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shl(h, 13), mask), unit);
}

/** Infinities and NaN come out of \`halves\` as numbers from 65536. */
@inline function withInfinities(x: v128): v128 {
  return v128.or(x, v128.and(f32x4.ge(f32x4.abs(x), f32x4.splat(HALF_END)), i32x4.splat(INFINITE_EXPONENT)));
}

function halfRow(from: usize, d: i32, o: usize): void {
  const mask = i32x4.splat(HALF_BITS), unit = f32x4.splat(HALF_UNIT), end = o + (<usize>(d & ~7) << 2);
  let top = i16x8.splat(0), p = o;
  while (p < end) {
    const h = v128.load(from);
    top = i16x8.max_u(top, i16x8.shl(h, 1));
    v128.store(p, halves(i32x4.extend_low_i16x8_s(h), mask, unit));
    v128.store(p, halves(i32x4.extend_high_i16x8_s(h), mask, unit), 16);
    from += 16; p += 32;
  }
  if (v128.any_true(i16x8.ge_u(top, i16x8.splat(<i16>HALF_TOP)))) {
    for (p = o; p < end; p += 16) v128.store(p, withInfinities(v128.load(p)));
  }
  for (let i = d & 7; i > 0; --i) {
    store<f32>(p, f32x4.extract_lane(withInfinities(halves(i32x4.splat(<i32>load<i16>(from)), mask, unit)), 0));
    from += 2; p += 4;
  }
}
`;

/** Four vectors of floats from sixteen codes. */
function widen(nibbles: boolean): string {
  return `
    ${
      nibbles
        ? 'const b = nibbles(codes + (i >> 1), mask, eight), low = i16x8.extend_low_i8x16_s(b), high = i16x8.extend_high_i8x16_s(b);'
        : 'const low = v128.load8x8_s(codes + i), high = v128.load8x8_s(codes + i, 8);'
    }
${['low', 'high'].map((half, h) => ['low', 'high'].map((part, p) => `    const f${2 * h + p} = f32x4.convert_i32x4_s(i32x4.extend_${part}_i16x8_s(${half}));`).join('\n')).join('\n')}`;
}

const NIBBLE_CONSTANTS = 'const mask = i8x16.splat(<i8>LOW_NIBBLES), eight = i8x16.splat(<i8>EIGHT);';

/** Codes `first .. end` of a row, with one scale and offset; runs of nibbles start at an even one. */
function tokenRun(build: Build, nibbles: boolean): string {
  return `
@inline function ${nibbles ? 'nibble' : 'byte'}Run(codes: usize, first: i32, end: i32, scale: f32, offset: f32, o: usize): void {
  ${nibbles ? NIBBLE_CONSTANTS : ''}
  const s = f32x4.splat(scale), z = f32x4.splat(offset);
  let i = first;
  while (i + 16 <= end) {${widen(nibbles)}
    const to = o + (<usize>i << 2);
${unroll(4, (k) => `    v128.store(to, ${multiplyAdd(build, `f${k}`, 's', 'z')}, ${16 * k});`)}
    i += 16;
  }
  while (i < end) {
    store<f32>(o + (<usize>i << 2), <f32>${nibbles ? 'nibble(codes, i)' : '<i32>load<i8>(codes + i)'} * scale + offset);
    ++i;
  }
}
`;
}

/** A row whose groups of channels have a scale each. */
function tokenRow(nibbles: boolean): string {
  const name = nibbles ? 'nibble' : 'byte';
  return `
function ${name}TokenRow(side: usize, data: usize, t: i32, d: i32, o: usize): void {
  const size = load<i32>(side, ${SIDE.groupSize}), at = <usize>t * <usize>load<i32>(side, ${SIDE.groups}) << 2;
  const codes = data + <usize>t * <usize>${nibbles ? '((d + 1) >> 1)' : 'd'};
  let scales = load<usize>(side, ${SIDE.scales}) + at, offsets = load<usize>(side, ${SIDE.offsets});
  if (offsets) offsets += at;
  for (let i = 0; i < d; i += size) {
    ${name}Run(codes, i, min(i + size, d), load<f32>(scales), offsets ? load<f32>(offsets) : 0, o);
    scales += 4; if (offsets) offsets += 4;
  }
}
`;
}

/** A row with a scale for each channel. */
function channelRow(build: Build, nibbles: boolean, offsets: boolean): string {
  const code = nibbles ? 'nibble(codes, i)' : '<i32>load<i8>(codes + i)';
  const vector = (k: number) =>
    offsets
      ? multiplyAdd(build, `f${k}`, `v128.load(scales, ${16 * k})`, `v128.load(offsets, ${16 * k})`)
      : `f32x4.mul(f${k}, v128.load(scales, ${16 * k}))`;
  return `
function ${nibbles ? 'nibble' : 'byte'}Channel${offsets ? 'Offset' : ''}Row(codes: usize, d: i32, scales: usize, offsets: usize, o: usize): void {
  ${nibbles ? NIBBLE_CONSTANTS : ''}
  let i = 0;
  while (i + 16 <= d) {${widen(nibbles)}
${unroll(4, (k) => `    v128.store(o, ${vector(k)}, ${16 * k});`)}
    i += 16; scales += 64; offsets += 64; o += 64;
  }
  while (i < d) {
    store<f32>(o, <f32>${code} * load<f32>(scales)${offsets ? ' + load<f32>(offsets)' : ''});
    ++i; scales += 4; offsets += 4; o += 4;
  }
}
`;
}
