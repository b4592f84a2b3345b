import { CODED_CHANNELS, CODED_QUERIES, SIDE, STORED, TILE } from '../../src/internal/attention-layout.js';
import { type Build, multiplyAdd, unroll } from '../unroll.js';

/**
 * Codes with scales by token, multiplied as integers: queries, and later weights, are rounded to 16 bits with a scale of their
 * own for each group of channels. That pays for few queries, which share no decoding, and needs groups of a multiple of 16
 * channels; else codes are decoded to float32.
 */
export function codedSource(build: Build): string {
  const kinds = [false, true];
  return `
/** A number of at most 16 bits added to it stands, rounded, in the low bits of the sum. */
export let ROUNDING: f32 = 12582912;

/** Channels of a group where codes are to be multiplied as integers, else 0. */
function codedGroup(side: usize, d: i32, queries: i32): i32 {
  const type = load<i32>(side, ${SIDE.type}), size = min(load<i32>(side, ${SIDE.groupSize}), d);
  const coded = type == ${STORED.int8Token} || type == ${STORED.int4Token};
  return coded && queries <= ${CODED_QUERIES} && (d & 15) == 0 && (size & 15) == 0 && size <= ${CODED_CHANNELS} ? size : 0;
}

/** \`count\` values, a multiple of 8, to 16-bit codes; returns their scale, NaN when one is NaN or infinite. */
function roundToWords(from: usize, count: i32, to: usize): f32 {
  let high = f32x4.splat(0), spoiled = high, p = from, i = count >> 2;
  const zero = high;
  do {
    const x = v128.load(p);
    high = f32x4.pmax(high, f32x4.abs(x)); spoiled = f32x4.add(spoiled, f32x4.mul(x, zero));
    p += 16;
  } while (--i);
  const largest = max<f32>(max<f32>(f32x4.extract_lane(high, 0), f32x4.extract_lane(high, 1)), max<f32>(f32x4.extract_lane(high, 2), f32x4.extract_lane(high, 3)));
  const poison = (f32x4.extract_lane(spoiled, 0) + f32x4.extract_lane(spoiled, 1)) + (f32x4.extract_lane(spoiled, 2) + f32x4.extract_lane(spoiled, 3));
  // The inverse of a denormal number would overflow.
  const inverse = f32x4.splat(largest > <f32>1e-33 ? <f32>32767 / largest : 0), magic = f32x4.splat(ROUNDING);
  p = from; i = count >> 3;
  do {
    const a = ${multiplyAdd(build, 'v128.load(p)', 'inverse', 'magic')}, b = ${multiplyAdd(build, 'v128.load(p, 16)', 'inverse', 'magic')};
    v128.store(to, v128.shuffle<i16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14));
    p += 32; to += 16;
  } while (--i);
  return largest * <f32>(1.0 / 32767) + poison;
}

/** Queries to words \`[query, d]\`, then for each group the scale and the sum of the values, \`[query, group, 2]\`. */
function roundQueries(from: usize, heads: i32, rows: i32, group: i32, d: i32, size: i32, scale: f32, words: usize, scales: usize, row: usize): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < group; j++) {
      for (let k = 0; k < d; k++) store<f32>(row + (k << 2), load<f32>(from + (k << 2)) * scale);
      for (let first = 0; first < d; first += size) {
        const count = min(size, d - first), at = row + (first << 2);
        let sum: f32 = 0;
        for (let k = 0; k < count; k++) sum += load<f32>(at + (k << 2));
        store<f32>(scales, roundToWords(at, count, words + (first << 1))); store<f32>(scales, sum, 4);
        scales += 8;
      }
      words += <usize>d << 1; from += <usize>d << 2;
    }
    from += <usize>((heads - group) * d) << 2;
  }
}

@inline function sumFourWords(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return f32x4.convert_i32x4_s(i32x4.add(v128.shuffle<i32>(ab, cd, 0, 1, 4, 5), v128.shuffle<i32>(ab, cd, 2, 3, 6, 7)));
}

@inline function fourFloats(a: usize, b: usize, c: usize, d: usize): v128 {
  return v128.load32_lane(d, v128.load32_lane(c, v128.load32_lane(b, v128.load32_zero(a), 1), 2), 3);
}
${kinds.flatMap((nibbles) => [2, 1].map((queries) => scoresOfCodes(build, nibbles, queries))).join('')}
/** Scores with the keys from \`t\` on; those of the last four past the end are -infinity. */
function scoreCodes(side: usize, t: i32, entries: i32, d: i32, size: i32, words: usize, scales: usize, queries: i32, s: usize): void {
  const nibbles = load<i32>(side, ${SIDE.type}) == ${STORED.int4Token}, groups = load<i32>(side, ${SIDE.groups});
  let j = queries, sp = s;
  while (j > 1) {
    if (nibbles) nibbleScores2(side, t, entries, d, size, words, scales, sp); else byteScores2(side, t, entries, d, size, words, scales, sp);
    words += <usize>d << 2; scales += <usize>groups << 4; sp += ${8 * TILE}; j -= 2;
  }
  if (j) { if (nibbles) nibbleScores1(side, t, entries, d, size, words, scales, sp); else byteScores1(side, t, entries, d, size, words, scales, sp); }
  for (let i = entries; i < ((entries + 3) & ~3); i++) {
    sp = s + (i << 2); j = queries;
    do { store<f32>(sp, -Infinity); sp += ${4 * TILE}; } while (--j);
  }
}
${kinds.flatMap((nibbles) => [2, 1].map((queries) => valuesOfCodes(build, nibbles, queries))).join('')}
/** Numbers of a group for every entry to a row of a tile. */
function gather(from: usize, step: usize, entries: i32, to: usize): void {
  do { store<f32>(to, load<f32>(from)); from += step; to += 4; } while (--entries);
}

/** Weights of one query times \`scales\`, as words; \`state\` gets their scale and the sum of weights times offsets. */
function roundWeights(p: usize, start: i32, end: i32, entries: i32, scales: usize, offsets: usize, row: usize, words: usize, state: usize): void {
  let i = 0;
  do {
    const at = <usize>i << 2;
    v128.store(row + at, f32x4.mul(v128.load(p + at), v128.load(scales + at)));
    i += 4;
  } while (i < entries);
  // What a row does not see is zero, whatever its scale; words are made in eights.
  const count = (entries + 7) & ~7;
  for (i = 0; i < start; i++) store<f32>(row + (i << 2), 0);
  for (i = end; i < count; i++) store<f32>(row + (i << 2), 0);
  let sum: f32 = 0;
  if (offsets) for (i = start; i < end; i++) sum += load<f32>(p + (i << 2)) * load<f32>(offsets + (i << 2));
  store<f32>(state, roundToWords(row, count, words));
  store<f32>(state, sum, 4);
}

/** Adds the sums of values from \`t\` on. Each row of queries sees a range of them; \`work\` has room for 5 tiles of scores. */
function addCodes(side: usize, t: i32, entries: i32, d: i32, size: i32, p: usize, rows: i32, group: i32, ranges: usize, o: usize, work: usize): void {
  const nibbles = load<i32>(side, ${SIDE.type}) == ${STORED.int4Token}, groups = load<i32>(side, ${SIDE.groups});
  const codes = load<usize>(side, ${SIDE.data}) + <usize>t * <usize>(nibbles ? d >> 1 : d), at = <usize>t * <usize>groups << 2;
  const scales = work, words = work + ${8 * TILE}, states = words + ${4 * TILE}, row = states + 16, queries = rows * group;
  const step = <usize>groups << 2, sideScales = load<usize>(side, ${SIDE.scales}) + at, sideOffsets = load<usize>(side, ${SIDE.offsets});
  const offsets = sideOffsets ? work + ${4 * TILE} : 0;
  for (let g = 0; g < groups; g++) {
    const channel = g * size, channels = min(size, d - channel);
    let j = 0, pp = p, op = o + (<usize>channel << 2);
    gather(sideScales + (g << 2), step, entries, scales);
    if (offsets) gather(sideOffsets + at + (g << 2), step, entries, offsets);
    const from = codes + <usize>(nibbles ? channel >> 1 : channel);
    while (j < queries) {
      const both = min(queries - j, 2);
      for (let k = 0; k < both; k++) {
        const range = ranges + (<usize>((j + k) / group) << 3);
        const start = max(load<i32>(range) - t, 0), end = min(load<i32>(range, 4) - t, entries);
        roundWeights(pp + k * ${4 * TILE}, start, max(start, end), entries, scales, offsets, row, words + k * ${2 * TILE}, states + (k << 3));
      }
      if (both == 2) {
        if (nibbles) nibbleValues2(from, entries, d, channels, words, states, op); else byteValues2(from, entries, d, channels, words, states, op);
      } else if (nibbles) nibbleValues1(from, entries, d, channels, words, states, op); else byteValues1(from, entries, d, channels, words, states, op);
      j += both; pp += ${8 * TILE}; op += <usize>d << 3;
    }
  }
}
`;
}

const MASKS = 'const mask = i8x16.splat(<i8>LOW_NIBBLES), eight = i8x16.splat(<i8>EIGHT);';

/** Declares the words of 16 codes at a pointer: `name0` and `name1`. */
function loadCodes(nibbles: boolean, name: string, pointer: string): string {
  return nibbles
    ? `const ${name} = nibbles(${pointer}, mask, eight), ${name}0 = i16x8.extend_low_i8x16_s(${name}), ${name}1 = i16x8.extend_high_i8x16_s(${name});`
    : `const ${name}0 = v128.load8x8_s(${pointer}), ${name}1 = v128.load8x8_s(${pointer}, 8);`;
}

function scoresOfCodes(build: Build, nibbles: boolean, queries: number): string {
  const bytes = nibbles ? 8 : 16;
  const each = (body: (query: number, entry: number) => string, separator: string) =>
    unroll(queries, (i) => unroll(4, (k) => body(i, k), separator), separator);
  return `
function ${nibbles ? 'nibble' : 'byte'}Scores${queries}(side: usize, t: i32, entries: i32, d: i32, size: i32, words: usize, scales: usize, s: usize): void {
  ${nibbles ? MASKS : ''}
  const groups = load<i32>(side, ${SIDE.groups}), row = <usize>${nibbles ? '(d >> 1)' : 'd'}, step = <usize>groups << 2, line = <usize>d << 1;
  const data = load<usize>(side, ${SIDE.data}), keyScales = load<usize>(side, ${SIDE.scales}), keyOffsets = load<usize>(side, ${SIDE.offsets});
  const last = t + entries - 1;
  for (let first = t; first <= last; first += 4) {
    // Past the end the last entry stands in.
    const ${unroll(4, (k) => `t${k} = <usize>min(first + ${k}, last)`, ', ')};
    let ${unroll(4, (k) => `p${k} = data + t${k} * row`, ', ')}, q = words, left = d, g = 0;
    let ${unroll(queries, (i) => `r${i} = f32x4.splat(0)`, ', ')};
    do {
      const count = min(size, left);
      let ${each((i, k) => `c${i}${k} = i32x4.splat(0)`, ', ')}, n = count >> 4;
      do {
${unroll(queries, (i) => `        const q${i}0 = v128.load(q${i ? ' + line' : ''}), q${i}1 = v128.load(q${i ? ' + line' : ''}, 16);`)}
${unroll(4, (k) => `        ${loadCodes(nibbles, `k${k}`, `p${k}`)} ${unroll(queries, (i) => `c${i}${k} = i32x4.add(i32x4.add(c${i}${k}, i32x4.dot_i16x8_s(k${k}0, q${i}0)), i32x4.dot_i16x8_s(k${k}1, q${i}1));`, ' ')} p${k} += ${bytes};`)}
        q += 32;
      } while (--n);
      const at = keyScales + (<usize>g << 2), each = fourFloats(${unroll(4, (k) => `at + t${k} * step`, ', ')});
      // An infinite scale makes values of both signs, whose sum is NaN.
      const spoiled = f32x4.mul(each, f32x4.splat(0));
${unroll(queries, (i) => `      r${i} = f32x4.add(r${i}, spoiled); r${i} = ${multiplyAdd(build, `f32x4.mul(sumFourWords(c${i}0, c${i}1, c${i}2, c${i}3), each)`, `v128.load32_splat(scales + (<usize>(g + ${i} * groups) << 3))`, `r${i}`)};`)}
      if (keyOffsets) {
        const from = keyOffsets + (<usize>g << 2), shift = fourFloats(${unroll(4, (k) => `from + t${k} * step`, ', ')});
${unroll(queries, (i) => `        r${i} = ${multiplyAdd(build, 'shift', `v128.load32_splat(scales + (<usize>(g + ${i} * groups) << 3), 4)`, `r${i}`)};`)}
      }
      left -= count; ++g;
    } while (left);
${unroll(queries, (i) => `    v128.store(s, r${i}, ${4 * TILE * i});`)}
    s += 16;
  }
}
`;
}

function valuesOfCodes(build: Build, nibbles: boolean, queries: number): string {
  const bytes = nibbles ? 8 : 16;
  const each = (body: (query: number, vector: number) => string, separator: string) =>
    unroll(queries, (i) => unroll(4, (c) => body(i, c), separator), separator);
  const pair = (second: string) => `
        ${loadCodes(nibbles, 'a', 'p')} ${loadCodes(nibbles, 'b', second)}
${unroll(2, (h) => `        const x${2 * h} = v128.shuffle<i16>(a${h}, b${h}, 0, 8, 1, 9, 2, 10, 3, 11), x${2 * h + 1} = v128.shuffle<i16>(a${h}, b${h}, 4, 12, 5, 13, 6, 14, 7, 15);`)}
        let w: v128;
${unroll(queries, (i) => `        w = v128.load32_splat(wp, ${2 * TILE * i}); ${unroll(4, (c) => `c${i}${c} = i32x4.add(c${i}${c}, i32x4.dot_i16x8_s(x${c}, w));`, ' ')}`)}`;
  return `
/** \`channels\` of the rows at \`codes\`, with words of weights and their scales in \`states\`, added to rows of \`o\`. */
function ${nibbles ? 'nibble' : 'byte'}Values${queries}(codes: usize, entries: i32, d: i32, channels: i32, words: usize, states: usize, o: usize): void {
  ${nibbles ? MASKS : ''}
  const row = <usize>${nibbles ? '(d >> 1)' : 'd'}, line = <usize>d << 2;
  let left = channels;
  do {
    let ${each((i, c) => `c${i}${c} = i32x4.splat(0)`, ', ')}, p = codes, wp = words, n = entries >> 1;
    while (n > 0) {${pair('p + row')}
      p += row << 1; wp += 4; --n;
    }
    // The weight of the entry past the last one is zero.
    if (entries & 1) {${pair('p')}
    }
${unroll(queries, (i) => `    const u${i} = v128.load32_splat(states, ${8 * i}), z${i} = v128.load32_splat(states, ${8 * i + 4}), o${i} = o${i ? ' + line' : ''};`)}
${each((i, c) => `    v128.store(o${i}, f32x4.add(v128.load(o${i}, ${16 * c}), ${multiplyAdd(build, `f32x4.convert_i32x4_s(c${i}${c})`, `u${i}`, `z${i}`)}), ${16 * c});`, '\n')}
    codes += ${bytes}; o += 64; left -= 16;
  } while (left);
}
`;
}
