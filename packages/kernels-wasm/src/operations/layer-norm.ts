import type { BlockKernels } from '@halftone/tensor';
import type { KernelCall } from '../internal/kernel-call.js';
import { BLOCK_MODULE } from '../internal/modules/block.js';
import { checkNorm } from '../internal/operation-checks.js';

export function layerNormOperation(call: KernelCall): BlockKernels['layerNorm'] {
  return (x, rows, features, gain, bias, epsilon, out) => {
    checkNorm('layerNorm', x, rows, features, gain, bias, out);
    call.start();
    const from = call.read(x, rows * features);
    const to = call.write(out, rows * features);
    const factors = call.read(gain, features);
    const summands = bias === undefined ? -1 : call.read(bias, features);
    call.place();
    const job = call.job(BLOCK_MODULE, 'layerNorm');
    job.stepped(call.address(from), 4 * features);
    job.stepped(call.address(to), 4 * features);
    job.count();
    job.value(features);
    job.value(call.address(factors));
    job.value(summands < 0 ? 0 : call.address(summands));
    job.value(epsilon);
    return call.finish(job.run(rows, 0.5 * features));
  };
}
