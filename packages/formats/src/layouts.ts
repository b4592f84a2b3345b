export { type WithLayoutsOptions, withLayouts } from './layouts/with-layouts.js';
