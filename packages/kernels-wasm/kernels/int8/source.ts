import { PANEL_OUTPUT } from '../products/panel-output.js';
import { type Build, CONSTANTS } from '../unroll.js';
import { activationsSource } from './activations.js';
import { OPERAND_CONSTANTS } from './operands.js';
import { productsSource } from './products.js';

/** Products of 8-bit activations with 8-bit and 4-bit weights, summed as integers. */
export function int8Source(build: Build): string {
  return [CONSTANTS, OPERAND_CONSTANTS, PANEL_OUTPUT, activationsSource(build), productsSource(build)].join('\n');
}
