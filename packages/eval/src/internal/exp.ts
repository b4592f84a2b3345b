/** Steps to an octave. */
const STEPS = 64;
const STEPS_PER_UNIT = STEPS / Math.LN2;
/** `ln 2 / 64` in two parts, the first with 32 trailing zero bits, so that `n * HIGH` is exact (Cody and Waite). */
const LOW = 1.9082149292705877e-10 / STEPS;
const HIGH = 0.6931471803691238 / STEPS;
const FRACTIONS = /* @__PURE__ */ Float64Array.from({ length: STEPS }, (_, i) => 2 ** (i / STEPS));
const OCTAVES = /* @__PURE__ */ Float64Array.from({ length: 1024 }, (_, i) => 2 ** -i);

/**
 * `e^x` for `x <= 0` to about 2e-16 relative, several times faster than `Math.exp`; 0 below -700. NaN gives NaN.
 * A table of 64 steps to the octave and the Taylor series of the rest.
 */
export function expNegative(x: number): number {
  if (x < -700) return 0;
  const n = (x * STEPS_PER_UNIT - 0.5) | 0;
  const r = x - n * HIGH - n * LOW;
  const rest = r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120)))));
  const power = FRACTIONS[n & (STEPS - 1)] * OCTAVES[-(n >> 6)];
  return power + power * rest;
}
