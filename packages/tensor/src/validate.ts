export { validateQuantized } from './validate-quantized.js';
