import type { KernelCall } from '../internal/kernel-call.js';
import { SIGNAL_MODULE } from '../internal/modules/signal.js';
import { checkWalshHadamard } from '../internal/operation-checks.js';
import type { Operations } from '../operations.js';

/** A column of vectors and its product with the largest matrix. */
const SCRATCH_BYTES = 2 * 28 * 16;

export function walshHadamardOperation(call: KernelCall): Operations['walshHadamard'] {
  return (x, rows, features, size = features) => {
    const { order, exponent } = checkWalshHadamard(x, rows, features, size);
    call.start();
    const values = call.write(x, rows * features);
    const scratch = call.scratch(SCRATCH_BYTES * call.machine.threads);
    call.place();
    const job = call.job(SIGNAL_MODULE, 'walshHadamard');
    job.stepped(call.address(values), 4 * size);
    job.count();
    job.value(order);
    job.value(exponent);
    job.value(1 / Math.sqrt(size));
    job.perThread(call.address(scratch), SCRATCH_BYTES);
    return call.finish(job.run((rows * features) / size, size));
  };
}
