import type { BlockKernels } from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import { attentionOperations } from './attend.js';
import { blockOperations } from './block-operations.js';
import { FLOAT_ATTENTION } from './modules/float-attention.js';

/** All of a transformer block beside its linear layers. */
export function blockKernels(runtime: Machine): BlockKernels {
  const { inTurn, allocate, free } = runtime;
  const { rmsNorm, layerNorm, rotate, activate, add } = blockOperations(runtime);
  const { attend } = attentionOperations(runtime, FLOAT_ATTENTION);
  return {
    allocate,
    free,
    rmsNorm: inTurn(rmsNorm),
    layerNorm: inTurn(layerNorm),
    rotate: inTurn(rotate),
    activate: inTurn(activate),
    add: inTurn(add),
    attend: inTurn(attend),
  };
}
