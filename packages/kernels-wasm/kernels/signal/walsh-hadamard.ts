import { conferenceMatrix, hadamardMatrix } from '../../src/internal/hadamard-matrix.js';
import { unroll } from '../unroll.js';

/**
 * `(H x S) / sqrt(n)` of blocks of `n = order * 2^exponent` values in place, where `S` is Sylvester's matrix of the power of two.
 * Factors come first, so that sums stay small; then butterflies in rising distance, up to three stages a pass; then `H`.
 */
export function walshHadamardSource(): string {
  return `
/** \`scratch\` holds two vectors for each row of \`H\`. */
export function walshHadamard(x: usize, blocks: i32, order: i32, exponent: i32, scale: f32, scratch: usize): void {
  const length = 1 << exponent;
  do {
    const start = x;
    for (let i = 0; i < order; i++) {
      powerOfTwo(x, exponent, scale);
      x += <usize>length << 2;
    }
    if (order > 1) mixColumns(start, order, length, scratch);
  } while (--blocks);
}

function powerOfTwo(x: usize, exponent: i32, scale: f32): void {
  const bytes = <usize>4 << exponent;
  if (exponent < 2) {
    const a = load<f32>(x) * scale;
    if (exponent == 0) store<f32>(x, a);
    else {
      const b = load<f32>(x, 4) * scale;
      store<f32>(x, a + b); store<f32>(x, a - b, 4);
    }
    return;
  }
  let distance: usize = 16, stages = exponent - 2;
  if (exponent < 5) withinVectors(x, bytes, scale);
  else { eightVectors(x, bytes, scale); distance = 128; stages = exponent - 5; }
  // Passes of three stages, and of two where one would be left over.
  while (stages > 4 || stages == 3) { pass8(x, bytes, distance); distance <<= 3; stages -= 3; }
  while (stages > 1) { pass4(x, bytes, distance); distance <<= 2; stages -= 2; }
  if (stages) pass2(x, bytes, distance);
}

function withinVectors(x: usize, bytes: usize, factor: f32): void {
  const end = x + bytes, scale = f32x4.splat(factor);
  do {
    const v = f32x4.mul(v128.load(x), scale);
    const a = f32x4.add(v128.shuffle<f32>(v, v, 0, 0, 2, 2), f32x4.mul(v128.shuffle<f32>(v, v, 1, 1, 3, 3), f32x4(1, -1, 1, -1)));
    v128.store(x, f32x4.add(v128.shuffle<f32>(a, a, 0, 1, 0, 1), f32x4.mul(v128.shuffle<f32>(a, a, 2, 3, 2, 3), f32x4(1, 1, -1, -1))));
    x += 16;
  } while (x < end);
}

function eightVectors(x: usize, bytes: usize, factor: f32): void {
  const end = x + bytes, scale = f32x4.splat(factor);
  do {
    let a: v128, b: v128, ${unroll(8, (i) => `v${i} = f32x4.mul(v128.load(x, ${16 * i}), scale)`, ', ')};
${unroll(4, (i) => pairWithinVectors(`v${2 * i}`, `v${2 * i + 1}`))}
${butterflies(8)}
${unroll(8, (i) => `    v128.store(x, v${i}, ${16 * i});`)}
    x += 128;
  } while (x < end);
}
${[2, 4, 8].map(pass).join('')}

function mixColumns(x: usize, order: i32, length: i32, scratch: usize): void {
  const step = <usize>length << 2, mixed = scratch + (<usize>order << 4);
  for (let column = 0; column < length; column += 4) {
    let p = x + (<usize>column << 2), at = scratch;
    for (let i = order; i > 0; i--) {
      v128.store(at, length < 4 ? loadPart(p, length, f32x4.splat(0)) : v128.load(p));
      p += step; at += 16;
    }
    if (order == 12) mix12(scratch, mixed);
    else if (order == 20) mix20(scratch, mixed);
    else mix28(scratch, mixed);
    p = x + (<usize>column << 2); at = mixed;
    for (let i = order; i > 0; i--) {
      if (length < 4) storePart(p, length, v128.load(at));
      else v128.store(p, v128.load(at));
      p += step; at += 16;
    }
  }
}
${mix(12)}${mix(20)}${mixPairs()}
`;
}

/** Distances 1 and 2 in two vectors. All shuffles take two lanes of each operand: one instruction on x86. */
function pairWithinVectors(v: string, w: string): string {
  const even = (a: string, b: string) => `v128.shuffle<f32>(${a}, ${b}, 0, 2, 4, 6)`;
  const odd = (a: string, b: string) => `v128.shuffle<f32>(${a}, ${b}, 1, 3, 5, 7)`;
  const once = `a = ${even(v, w)}; b = ${odd(v, w)}; ${v} = f32x4.add(a, b); ${w} = f32x4.sub(a, b);`;
  return `    ${once} ${once}
    a = ${even(v, w)}; b = ${odd(v, w)}; ${v} = a; ${w} = b;`;
}

/** Stages of distances 1, 2, 4 among `v0`, `v1`, ... in place; `a` is free. */
function butterflies(count: number): string {
  const lines: string[] = [];
  for (let distance = 1; distance < count; distance *= 2) {
    for (let i = 0; i < count; i++) {
      if (i & distance) continue;
      const [v, w] = [`v${i}`, `v${i + distance}`];
      lines.push(`    a = ${v}; ${v} = f32x4.add(a, ${w}); ${w} = f32x4.sub(a, ${w});`);
    }
  }
  return lines.join('\n');
}

/** Stages of distances from `distance` bytes on, in one walk through memory. */
function pass(count: number): string {
  const pointers = unroll(count, (i) => (i === 0 ? 'p0 = x' : `p${i} = p${i - 1} + distance`), ', ');
  return `
function pass${count}(x: usize, bytes: usize, distance: usize): void {
  const end = x + bytes;
  do {
    let ${pointers};
    const last = p1;
    do {
      let a: v128, ${unroll(count, (i) => `v${i} = v128.load(p${i})`, ', ')};
${butterflies(count)}
${unroll(count, (i) => `      v128.store(p${i}, v${i}); p${i} += 16;`)}
    } while (p0 < last);
    x += distance * ${count};
  } while (x < end);
}`;
}

function mix(order: 12 | 20): string {
  const start = () => 'f32x4.splat(0)';
  return `
function mix${order}(x: usize, out: usize): void {
${signedSums(hadamardMatrix(order), order, 1, start)}
}`;
}

/**
 * Order 28 as the Kronecker products that it is made of: sums and differences of pairs, a product of each with the conference
 * matrix, and the other of the two added or taken away.
 */
function mixPairs(): string {
  const start = (row: number) => `f32x4.mul(v128.load(other, ${32 * row}), sign)`;
  return `
function mix28(x: usize, out: usize): void {
  for (let p = x; p < x + ${28 * 16}; p += 32) {
    const a = v128.load(p), b = v128.load(p, 16);
    v128.store(p, f32x4.add(a, b)); v128.store(p, f32x4.sub(a, b), 16);
  }
  conference(x, x + 16, 1, out);
  conference(x + 16, x, -1, out + 16);
}

function conference(x: usize, other: usize, factor: f32, out: usize): void {
  const sign = f32x4.splat(factor);
${signedSums(conferenceMatrix(13), 14, 2, start)}
}`;
}

/** Products of a matrix of -1, 0 and 1 with vectors, every `stride`th one. Groups of at most ten sums stay in registers. */
function signedSums(matrix: Int8Array, order: number, stride: number, start: (row: number) => string): string {
  const groups = Math.ceil(order / 10);
  const columns = Array.from({ length: order }, (_, column) => column);
  const step = (row: number, column: number) => {
    const entry = matrix[row * order + column];
    return entry === 0 ? '' : `s${row} = f32x4.${entry > 0 ? 'add' : 'sub'}(s${row}, v);`;
  };
  const group = (first: number, end: number) => {
    const rows = columns.slice(first, end);
    return [
      `  let ${rows.map((row) => `s${row} = ${start(row)}`).join(', ')};`,
      ...columns.map(
        (column) => `  v = v128.load(x, ${16 * stride * column}); ${rows.map((row) => step(row, column)).join(' ')}`,
      ),
      ...rows.map((row) => `  v128.store(out, s${row}, ${16 * stride * row});`),
    ].join('\n');
  };
  return `  let v: v128;
${unroll(groups, (i) => group(Math.floor((order * i) / groups), Math.floor((order * (i + 1)) / groups)))}`;
}
