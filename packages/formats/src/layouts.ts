export { bitsandbytes } from './layouts/bitsandbytes.js';
export { type WithLayoutsOptions, withLayouts } from './layouts/with-layouts.js';
