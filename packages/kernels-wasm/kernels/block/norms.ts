import { type Build, multiplyAdd } from '../unroll.js';
import { vectors } from './vectors.js';

/**
 * RMSNorm and LayerNorm of rows. Values are summed in float32, 64 to a lane, and the rest in float64. Sums of squares that
 * float32 cannot hold well (huge and tiny rows, zeros, NaN) go a slower way in float64.
 */
export function normsSource(build: Build): string {
  const madd = (a: string, b: string, c: string) => multiplyAdd(build, a, b, c);
  const zeros = 'let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, v: v128;';
  return `
const PIECE: i32 = 1024;
/** Sums of squares between these are as good as in float64. */
const SMALL: f64 = 1e-24, LARGE: f64 = 1e30;

function pieceSquares(p: usize, count: i32): f64 {
  ${zeros}
  ${vectors('count', ['p'], (at, i) => `v = v128.load(p, ${at}); s${i} = ${madd('v', 'v', `s${i}`)};`)}
  if (count & 3) { v = loadPart(p, count & 3, f32x4.splat(0)); s1 = ${madd('v', 'v', 's1')}; }
  return sumOfVectors(s0, s1, s2, s3);
}

export function rmsNorm(x: usize, out: usize, rows: i32, features: i32, gain: usize, epsilon: f64): void {
  const bytes = <usize>features << 2;
  do {
    let squares: f64 = 0;
    for (let at = 0; at < features; at += PIECE) squares += pieceSquares(x + (<usize>at << 2), min(features - at, PIECE));
    if (squares > SMALL && squares < LARGE) rmsNormRow(x, out, features, gain, <f32>(1 / sqrt<f64>(squares / <f64>features + epsilon)));
    else rmsNormRow64(x, out, features, gain, epsilon);
    x += bytes; out += bytes;
  } while (--rows);
}

function rmsNormRow(x: usize, out: usize, count: i32, gain: usize, factor: f32): void {
  const scale = f32x4.splat(factor);
  ${vectors('count', ['x', 'out', 'gain'], (at) => `v128.store(out, f32x4.mul(f32x4.mul(v128.load(x, ${at}), scale), v128.load(gain, ${at})), ${at});`)}
  for (let i = count & 3; i > 0; i--) {
    store<f32>(out, load<f32>(x) * factor * load<f32>(gain));
    x += 4; out += 4; gain += 4;
  }
}

function rmsNormRow64(x: usize, out: usize, count: i32, gain: usize, epsilon: f64): void {
  const end = x + (<usize>count << 2);
  let squares: f64 = 0;
  for (let p = x; p < end; p += 4) { const v = <f64>load<f32>(p); squares += v * v; }
  const scale = 1 / sqrt<f64>(squares / <f64>count + epsilon);
  for (; x < end; x += 4) {
    store<f32>(out, <f32>(<f64>load<f32>(x) * scale * <f64>load<f32>(gain)));
    out += 4; gain += 4;
  }
}

function pieceSum(p: usize, count: i32): f64 {
  ${zeros}
  ${vectors('count', ['p'], (at, i) => `s${i} = f32x4.add(s${i}, v128.load(p, ${at}));`)}
  if (count & 3) { v = loadPart(p, count & 3, f32x4.splat(0)); s1 = f32x4.add(s1, v); }
  return sumOfVectors(s0, s1, s2, s3);
}

/** The second result of \`pieceDeviations\`. */
let deviationSum: f64 = 0;

/** The sum of squares of \`x - center\`. The sum itself is added to \`deviationSum\`. */
function pieceDeviations(p: usize, count: i32, center: f32): f64 {
  ${zeros}
  const c = f32x4.splat(center);
  let t0 = f32x4.splat(0), t1 = t0;
  ${vectors('count', ['p'], (at, i) => `v = f32x4.sub(v128.load(p, ${at}), c); s${i} = ${madd('v', 'v', `s${i}`)}; t${i % 2} = f32x4.add(t${i % 2}, v);`)}
  if (count & 3) { v = f32x4.sub(loadPart(p, count & 3, c), c); s1 = ${madd('v', 'v', 's1')}; t1 = f32x4.add(t1, v); }
  deviationSum += sumOfLanes(f32x4.add(t0, t1));
  return sumOfVectors(s0, s1, s2, s3);
}

/** \`bias\` is 0 where there is none. Deviations from the mean in float32 are exact where it matters; their own mean corrects it. */
export function layerNorm(x: usize, out: usize, rows: i32, features: i32, gain: usize, bias: usize, epsilon: f64): void {
  const bytes = <usize>features << 2, n = <f64>features;
  do {
    let sum: f64 = 0, squares: f64 = 0;
    for (let at = 0; at < features; at += PIECE) sum += pieceSum(x + (<usize>at << 2), min(features - at, PIECE));
    const center = <f32>(sum / n);
    deviationSum = 0;
    for (let at = 0; at < features; at += PIECE) squares += pieceDeviations(x + (<usize>at << 2), min(features - at, PIECE), center);
    if (squares > SMALL && squares < LARGE) {
      const rest = deviationSum / n, scale = 1 / sqrt<f64>(squares / n - rest * rest + epsilon);
      if (bias) layerNormRowBias(x, out, features, gain, bias, center, <f32>scale, <f32>(-rest * scale));
      else layerNormRow(x, out, features, gain, bias, center, <f32>scale, <f32>(-rest * scale));
    } else layerNormRow64(x, out, features, gain, bias, epsilon);
    x += bytes; out += bytes;
  } while (--rows);
}
${layerNormRow('layerNormRow', false, madd)}
${layerNormRow('layerNormRowBias', true, madd)}

function layerNormRow64(x: usize, out: usize, count: i32, gain: usize, bias: usize, epsilon: f64): void {
  const end = x + (<usize>count << 2);
  let sum: f64 = 0, squares: f64 = 0;
  for (let p = x; p < end; p += 4) sum += <f64>load<f32>(p);
  const mean = sum / <f64>count;
  for (let p = x; p < end; p += 4) { const v = <f64>load<f32>(p) - mean; squares += v * v; }
  const scale = 1 / sqrt<f64>(squares / <f64>count + epsilon);
  for (; x < end; x += 4) {
    let y = (<f64>load<f32>(x) - mean) * scale * <f64>load<f32>(gain);
    if (bias) { y += <f64>load<f32>(bias); bias += 4; }
    store<f32>(out, <f32>y);
    out += 4; gain += 4;
  }
}
`;
}

function layerNormRow(name: string, biased: boolean, madd: (a: string, b: string, c: string) => string): string {
  const normal = (at: number) => madd(`f32x4.sub(v128.load(x, ${at}), c)`, 'scale', 'shift');
  const result = (at: number) =>
    biased
      ? madd(normal(at), `v128.load(gain, ${at})`, `v128.load(bias, ${at})`)
      : `f32x4.mul(${normal(at)}, v128.load(gain, ${at}))`;
  const pointers = ['x', 'out', 'gain', ...(biased ? ['bias'] : [])];
  const rest = (p: string) => `loadPart(${p}, count & 3, f32x4.splat(0))`;
  const restNormal = madd(`f32x4.sub(${rest('x')}, c)`, 'scale', 'shift');
  const restResult = biased
    ? madd(restNormal, rest('gain'), rest('bias'))
    : `f32x4.mul(${restNormal}, ${rest('gain')})`;
  return `
function ${name}(x: usize, out: usize, count: i32, gain: usize, bias: usize, center: f32, factor: f32, summand: f32): void {
  const c = f32x4.splat(center), scale = f32x4.splat(factor), shift = f32x4.splat(summand);
  ${vectors('count', pointers, (at) => `v128.store(out, ${result(at)}, ${at});`)}
  if (count & 3) storePart(out, count & 3, ${restResult});
}`;
}
