import type { BlockKernels } from '@halftone/tensor';
import type { KernelCall } from '../internal/kernel-call.js';
import { PIECE } from '../internal/layout.js';
import { BLOCK_MODULE } from '../internal/modules/block.js';
import { checkAddition } from '../internal/operation-checks.js';

export function addOperation(call: KernelCall): BlockKernels['add'] {
  return (x, y, length) => {
    checkAddition(x, y, length);
    call.start();
    const sums = call.write(x, length);
    const summands = call.read(y, length);
    call.place();
    const job = call.job(BLOCK_MODULE, 'add');
    job.stepped(call.address(sums), 4 * PIECE);
    job.stepped(call.address(summands), 4 * PIECE);
    job.stepped(0, PIECE);
    job.count();
    job.value(length);
    return call.finish(job.run(Math.ceil(length / PIECE), 0.2 * PIECE));
  };
}
