export { halftone } from './layouts/native.js';
export { type WithLayoutsOptions, withLayouts } from './layouts/with-layouts.js';
