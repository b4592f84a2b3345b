import type { KernelCall } from '../internal/kernel-call.js';
import { SIGNAL_MODULE } from '../internal/modules/signal.js';
import { checkSelection, notANumber } from '../internal/operation-checks.js';
import type { Operations } from '../operations.js';

export function argmaxOperation(call: KernelCall): Operations['argmax'] {
  return (x) => {
    checkSelection('argmax', x, 1);
    call.start();
    const values = call.read(x, x.length);
    const kernels = call.machine.kernels(call.place(), SIGNAL_MODULE);
    const index = kernels.argmax(call.address(values), x.length);
    call.finish(undefined);
    if (index < 0) throw notANumber('argmax', x);
    return index;
  };
}
