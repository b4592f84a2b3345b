export {
  cholesky,
  choleskySolve,
  invertLower,
  invertPositiveDefinite,
  solveLower,
  solveLowerTransposed,
  solveUpper,
} from './cholesky.js';
export { choleskyUpperOfInverse, INVERSE_FACTOR_DEFAULTS, type InverseFactorOptions } from './inverse-factor.js';
export { addValue, addValues, createMoments, type Moments, mergeMoments, standardError, variance } from './moments.js';
export { quantile, quantiles } from './quantile.js';
export { createRandom, type Random } from './random.js';
export { logSoftmax, logSumExp, softmax } from './softmax.js';
export { createSum, type RunningSum, sum } from './sum.js';
