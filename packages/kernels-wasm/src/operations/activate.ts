import type { ActivationName, BlockKernels } from '@halftone/tensor';
import type { KernelCall } from '../internal/kernel-call.js';
import { PIECE } from '../internal/layout.js';
import { type ActivationKernel, BLOCK_MODULE } from '../internal/modules/block.js';
import { checkActivation } from '../internal/operation-checks.js';

/** Kernels without and with a factor, and about how many nanoseconds a value takes. */
const KERNELS: Readonly<Record<ActivationName, readonly [ActivationKernel, ActivationKernel, number]>> = {
  silu: ['silu', 'siluGated', 1],
  gelu: ['gelu', 'geluGated', 2],
  gelu_tanh: ['geluTanh', 'geluTanhGated', 1],
};

export function activateOperation(call: KernelCall): BlockKernels['activate'] {
  return (name, x, length, factor) => {
    checkActivation(name, x, length, factor);
    const [alone, gated, cost] = KERNELS[name];
    call.start();
    const values = call.write(x, length);
    const factors = factor === undefined ? -1 : call.read(factor, length);
    call.place();
    const job = call.job(BLOCK_MODULE, factors < 0 ? alone : gated);
    job.stepped(call.address(values), 4 * PIECE);
    job.stepped(factors < 0 ? 0 : call.address(factors), 4 * PIECE);
    job.stepped(0, PIECE);
    job.count();
    job.value(length);
    return call.finish(job.run(Math.ceil(length / PIECE), cost * PIECE));
  };
}
