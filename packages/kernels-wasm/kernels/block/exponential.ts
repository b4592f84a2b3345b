import { type Build, multiplyAdd } from '../unroll.js';

/**
 * What `exponential` is given. The polynomial `e^f = 1 + f + f^2 (p2 + p3 f + ...)` has the smallest relative error (3e-9) on
 * `|f| <= log(2) / 2` among those that start with `1 + f`; its coefficients are doubled.
 */
const CONSTANTS: readonly (readonly [name: string, value: string])[] = [
  ['eLow', '-87.5'],
  ['eHigh', '89.3'],
  ['ePerLog2', '1.4426950408889634'],
  // 1.5 * 2^23 leaves no bits for a fraction; 126 is the exponent of 2^-1.
  ['eMagic', '12583038'],
  // -log(2) in two parts: products of the first with whole numbers are exact.
  ['eMinusLog2', '-0.693359375'],
  ['eMinusLog2Rest', '0.00021219444005471377'],
  ['eP6', '0.0027629081159830093'],
  ['eP5', '0.01673749089241028'],
  ['eP4', '0.08333677798509598'],
  ['eP3', '0.3333304226398468'],
  ['eP2', '0.9999998807907104'],
  ['eTwo', '2'],
];
const NAMES = CONSTANTS.map(([name]) => name);

/**
 * `e^x` of four float32 values. Within 1.2 ulp (0.9 with fused multiply-add); 0 below 2^-125.5, so that denormals and the smallest normal
 * numbers are flushed; infinity where the result overflows; NaN for NaN.
 *
 * `x = n log(2) + f` with `|f| <= log(2) / 2`, and `n + 126` stands in the low bits of `x / log(2) + magic`. Twice the
 * polynomial is multiplied by `2^(n - 1)`: that reaches the largest float, and at both ends `2^(n - 1)` made of its exponent
 * bits is 0 and infinity of itself, so that nothing need be selected.
 */
export function exponentialSource(build: Build): string {
  return `
${CONSTANTS.map(([name, value]) => `export let ${name}32: f32 = ${value};`).join('\n')}

${inlineFunction(build, 'exponential', false)}
/** \`e^(x + rest)\` where \`rest\` is much smaller than 1 and may lie below the last digit of \`x\`. */
${inlineFunction(build, 'exponentialOfSum', true)}`;
}

function inlineFunction(build: Build, name: string, sum: boolean): string {
  const f = multiplyAdd(build, 'n', 'eMinusLog2Rest', multiplyAdd(build, 'n', 'eMinusLog2', 'z'));
  return `
@inline function ${name}(x: v128, ${sum ? 'rest: v128, ' : ''}${NAMES.map((name) => `${name}: v128`).join(', ')}): v128 {
  // pmax and pmin are single instructions; with x first they keep NaN.
  const z = f32x4.pmin(f32x4.pmax(x, eLow), eHigh);
  const shifted = ${multiplyAdd(build, 'z', 'ePerLog2', 'eMagic')};
  const n = f32x4.sub(shifted, eMagic);
  const f = ${sum ? `f32x4.add(${f}, rest)` : f};
  let y = eP6;
${['eP5', 'eP4', 'eP3', 'eP2', 'eTwo', 'eTwo'].map((name) => `  y = ${multiplyAdd(build, 'y', 'f', name)};`).join('\n')}
  return f32x4.mul(y, i32x4.shl(shifted, 23));
}`;
}

/** Declares what `exponentialOf` needs. It belongs before loops: engines make a constant anew at every use. */
export const EXPONENTIAL_CONSTANTS = NAMES.map((name) => `const ${name} = f32x4.splat(${name}32);`).join(' ');

export function exponentialOf(x: string): string {
  return `exponential(${x}, ${NAMES.join(', ')})`;
}

export function exponentialOfSum(x: string, rest: string): string {
  return `exponentialOfSum(${x}, ${rest}, ${NAMES.join(', ')})`;
}
