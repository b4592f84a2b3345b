import type { KernelCall } from '../internal/kernel-call.js';
import { BLOCK } from '../internal/layout.js';
import { SIGNAL_MODULE } from '../internal/modules/signal.js';
import { checkQuantization } from '../internal/operation-checks.js';
import type { Operations } from '../operations.js';

export function quantizeOperation(call: KernelCall): Operations['quantize'] {
  return (x, rows, features, codes, scales) => {
    checkQuantization(x, rows, features, codes, scales);
    const runs = Math.ceil(features / BLOCK);
    call.start();
    const from = call.read(x, rows * features);
    const codesTo = call.write(codes, rows * features);
    const scalesTo = call.write(scales, rows * runs);
    call.place();
    const job = call.job(SIGNAL_MODULE, 'quantize');
    job.stepped(call.address(from), 4 * features);
    job.stepped(call.address(codesTo), features);
    job.stepped(call.address(scalesTo), 4 * runs);
    job.count();
    job.value(features);
    return call.finish(job.run(rows, 0.5 * features));
  };
}
