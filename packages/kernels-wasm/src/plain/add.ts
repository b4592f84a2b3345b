import { checkAddition } from '../internal/operation-checks.js';

/** `x += y` */
export function add(x: Float32Array, y: Float32Array, length: number): void {
  checkAddition(x, y, length);
  for (let i = 0; i < length; i++) x[i] += y[i];
}
