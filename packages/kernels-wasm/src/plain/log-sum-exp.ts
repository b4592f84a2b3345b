/** `log(sum(exp(x)))` without overflow. */
export function logSumExp(x: Float32Array): number {
  let largest = -Infinity;
  for (const value of x) largest = Math.max(largest, value);
  if (!Number.isFinite(largest)) return largest;
  let sum = 0;
  for (const value of x) sum += Math.exp(value - largest);
  return largest + Math.log(sum);
}
