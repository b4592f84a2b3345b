import type { BlockKernels } from '@halftone/tensor';
import { activateOperation } from '../operations/activate.js';
import { addOperation } from '../operations/add.js';
import { layerNormOperation } from '../operations/layer-norm.js';
import { rmsNormOperation } from '../operations/rms-norm.js';
import { rotateOperation } from '../operations/rotate.js';
import type { Machine } from '../runtime.js';
import { kernelCall } from './kernel-call.js';

export type BlockOperations = Pick<BlockKernels, 'rmsNorm' | 'layerNorm' | 'rotate' | 'activate' | 'add'>;

/** Each throws `SHAPE` for arrays that are too short, and `DEVICE` after `dispose` or when memory runs out. */
export function blockOperations(machine: Machine): BlockOperations {
  const call = kernelCall(machine);
  return {
    rmsNorm: rmsNormOperation(call),
    layerNorm: layerNormOperation(call),
    rotate: rotateOperation(call, 'rotate'),
    activate: activateOperation(call),
    add: addOperation(call),
  };
}
