import { latticeVectors } from '@halftone/tensor/codebooks';
import type { LatticeRules } from '../ggml/lattice-types.js';
import { latticeSearch } from './lattice-search.js';

/** Elements whose signs are stored together. */
const SIGN_RUN = 8;

/** One group of weights on a lattice: load it, then round it at any number of scales. */
export interface LatticeGroup {
  /** Of the last rounding, one for each vector. */
  readonly codes: Int32Array;
  /** Of the loaded group, one for each element: 1 where the value is negated. */
  readonly signs: Uint8Array;
  /** Sums over the group at the last rounding: `[0]` of `w x q`, `[1]` of `w q²`, with the chosen values q before scaling. */
  readonly sums: Float64Array;
  /** A first guess of the scale, to be multiplied by a trial; 0 for a group of zeros. */
  load(x: Float64Array, w: Float64Array, start: number): number;
  /** Chooses the nearest vectors (and shifts) at a scale above 0. */
  round(step: number): void;
}

/** Builds the search tables of a lattice: O(entries). Keeps scratch memory, so it serves one caller at a time. */
export function latticeGroup(rules: LatticeRules): LatticeGroup {
  const { groupSize, vectorLength, shifts, shiftSpan } = rules;
  const search = latticeSearch(latticeVectors(rules.lattice), vectorLength);
  const { vectors } = search;
  const entries = vectors.length / vectorLength;
  const largest = vectors.reduce((a, b) => Math.max(a, b));
  const target = new Float64Array(groupSize);
  const scaled = new Float64Array(groupSize);
  const weights = new Float64Array(groupSize);
  const signs = new Uint8Array(groupSize);
  const codes = new Int32Array(groupSize / vectorLength);
  const sums = new Float64Array(2);
  const trial = new Int32Array(shiftSpan / vectorLength);

  const load = (x: Float64Array, w: Float64Array, start: number): number => {
    let max = 0;
    let sumW = 0;
    let sumSquares = 0;
    for (let i = 0; i < groupSize; i++) {
      const value = x[start + i];
      const magnitude = Math.abs(value);
      const negative = rules.signs !== 'none' && value < 0 ? 1 : 0;
      signs[i] = negative;
      target[i] = negative ? magnitude : value;
      weights[i] = w[start + i];
      if (magnitude > max) max = magnitude;
      sumW += weights[i];
      sumSquares += weights[i] * value * value;
    }
    if (rules.signs === 'even') for (let i = 0; i < groupSize; i += SIGN_RUN) makeSignsEven(i);
    if (rules.signs !== 'none') return max / largest;
    return sumSquares > 0 ? Math.sqrt(sumSquares / sumW) : max;
  };

  /** Of an odd number of signs the one that is cheapest to have wrong, at the smallest value, is turned. */
  const makeSignsEven = (from: number): void => {
    let odd = 0;
    let least = from;
    for (let i = from; i < from + SIGN_RUN; i++) {
      odd ^= signs[i];
      if (weights[i] * target[i] < weights[least] * target[least]) least = i;
    }
    if (odd === 0) return;
    signs[least] ^= 1;
    target[least] = -target[least];
  };

  const round = (step: number): void => {
    const inverse = 1 / step;
    sums.fill(0);
    for (let start = 0; start < groupSize; start += shiftSpan) {
      let bestError = Infinity;
      let bestQX = 0;
      let bestQ2 = 0;
      for (let k = 0; k < shifts.length; k++) {
        const shift = shifts[k];
        for (let i = start; i < start + shiftSpan; i++) scaled[i] = target[i] * inverse - shift;
        let qx = 0;
        let q2 = 0;
        for (let at = start, v = 0; at < start + shiftSpan; at += vectorLength, v++) {
          const entry = search.nearest(scaled, weights, at);
          trial[v] = k * entries + entry;
          for (let i = 0, from = entry * vectorLength; i < vectorLength; i++) {
            const q = vectors[from + i] + shift;
            const wq = weights[at + i] * q;
            qx += wq * target[at + i];
            q2 += wq * q;
          }
        }
        // The error at this step, less the sum of w x², which all shifts share.
        const error = step * (step * q2 - 2 * qx);
        if (error < bestError) {
          bestError = error;
          bestQX = qx;
          bestQ2 = q2;
          codes.set(trial, start / vectorLength);
        }
      }
      sums[0] += bestQX;
      sums[1] += bestQ2;
    }
  };
  return { codes, signs, sums, load, round };
}
