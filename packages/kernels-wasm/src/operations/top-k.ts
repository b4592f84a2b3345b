import type { KernelCall } from '../internal/kernel-call.js';
import { SIGNAL_MODULE } from '../internal/modules/signal.js';
import { checkTopK, notANumber } from '../internal/operation-checks.js';
import type { Operations } from '../operations.js';

const KEY_BYTES = 8;

export function topKOperation(call: KernelCall): Operations['topK'] {
  return (x, k, values, indices) => {
    checkTopK(x, k, values, indices);
    call.start();
    const from = call.read(x, x.length);
    const largest = call.write(values, k);
    const places = call.write(indices, k);
    const heap = call.scratch(KEY_BYTES * k);
    const kernels = call.machine.kernels(call.place(), SIGNAL_MODULE);
    const found = kernels.topK(
      call.address(from),
      x.length,
      k,
      call.address(heap),
      call.address(largest),
      call.address(places),
    );
    call.finish(undefined);
    if (found === 0) throw notANumber('topK', x);
  };
}
