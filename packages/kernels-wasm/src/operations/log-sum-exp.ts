import type { KernelCall } from '../internal/kernel-call.js';
import { SIGNAL_MODULE } from '../internal/modules/signal.js';
import type { Operations } from '../operations.js';

export function logSumExpOperation(call: KernelCall): Operations['logSumExp'] {
  return (x) => {
    call.start();
    const values = call.read(x, x.length);
    const kernels = call.machine.kernels(call.place(), SIGNAL_MODULE);
    const top = kernels.largest(call.address(values), x.length, 1);
    const sum = Number.isFinite(top) ? kernels.exponentialSum(call.address(values), x.length, top) : 1;
    call.finish(undefined);
    return top + Math.log(sum);
  };
}
