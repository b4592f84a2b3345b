export { bitsandbytes } from './layouts/bitsandbytes.js';
export { fp8 } from './layouts/fp8.js';
export { hqq } from './layouts/hqq.js';
export { mlx } from './layouts/mlx.js';
export { mxfp4 } from './layouts/mxfp4.js';
export { type WithLayoutsOptions, withLayouts } from './layouts/with-layouts.js';
