export { bitsandbytes } from './layouts/bitsandbytes.js';
export { mlx } from './layouts/mlx.js';
export { type WithLayoutsOptions, withLayouts } from './layouts/with-layouts.js';
