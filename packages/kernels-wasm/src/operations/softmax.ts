import type { KernelCall } from '../internal/kernel-call.js';
import { SIGNAL_MODULE } from '../internal/modules/signal.js';
import { checkSoftmax } from '../internal/operation-checks.js';
import type { Operations } from '../operations.js';

export function softmaxOperation(call: KernelCall): Operations['softmax'] {
  return (x, rows, features, out, factor = 1) => {
    checkSoftmax(x, rows, features, out);
    call.start();
    const from = call.read(x, rows * features);
    const to = call.write(out, rows * features);
    call.place();
    const job = call.job(SIGNAL_MODULE, 'softmax');
    job.stepped(call.address(from), 4 * features);
    job.stepped(call.address(to), 4 * features);
    job.count();
    job.value(features);
    job.value(factor);
    return call.finish(job.run(rows, features));
  };
}
