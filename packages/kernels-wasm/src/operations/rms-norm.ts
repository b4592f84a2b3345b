import type { BlockKernels } from '@halftone/tensor';
import type { KernelCall } from '../internal/kernel-call.js';
import { BLOCK_MODULE } from '../internal/modules/block.js';
import { checkNorm } from '../internal/operation-checks.js';

export function rmsNormOperation(call: KernelCall): BlockKernels['rmsNorm'] {
  return (x, rows, features, gain, epsilon, out) => {
    checkNorm('rmsNorm', x, rows, features, gain, undefined, out);
    call.start();
    const from = call.read(x, rows * features);
    const to = call.write(out, rows * features);
    const factors = call.read(gain, features);
    call.place();
    const job = call.job(BLOCK_MODULE, 'rmsNorm');
    job.stepped(call.address(from), 4 * features);
    job.stepped(call.address(to), 4 * features);
    job.count();
    job.value(features);
    job.value(call.address(factors));
    job.value(epsilon);
    return call.finish(job.run(rows, 0.3 * features));
  };
}
