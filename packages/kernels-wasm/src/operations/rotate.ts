import type { BlockKernels } from '@halftone/tensor';
import type { KernelCall } from '../internal/kernel-call.js';
import { BLOCK_MODULE } from '../internal/modules/block.js';
import { checkRotation } from '../internal/operation-checks.js';

/** Either layout of pairs. Of tables outside kernel memory only the rows in use are copied. */
export function rotateOperation(call: KernelCall, kernel: 'rotate' | 'rotateInterleaved'): BlockKernels['rotate'] {
  return (x, rowIndex, heads, pairs, cosines, sines) => {
    const rows = rowIndex.length;
    checkRotation(kernel, x, rowIndex, heads, pairs, cosines, sines);
    if (rows * heads === 0) return undefined;
    call.start();
    const values = call.write(x, rows * heads * 2 * pairs);
    const whole = call.resident(cosines) && call.resident(sines);
    const indices = whole ? call.read(rowIndex, rows) : call.scratch(4 * rows);
    const cosineTable = whole ? call.read(cosines, cosines.length) : call.scratch(4 * rows * pairs);
    const sineTable = whole ? call.read(sines, sines.length) : call.scratch(4 * rows * pairs);
    const { bytes, floats } = call.place();
    if (!whole) {
      gather(cosines, rowIndex, pairs, floats, call.address(cosineTable) / 4);
      gather(sines, rowIndex, pairs, floats, call.address(sineTable) / 4);
      count(bytes, call.address(indices), rows);
    }
    const job = call.job(BLOCK_MODULE, kernel);
    job.stepped(call.address(values), 4 * heads * 2 * pairs);
    job.stepped(call.address(indices), 4);
    job.count();
    job.value(heads);
    job.value(pairs);
    job.value(call.address(cosineTable));
    job.value(call.address(sineTable));
    return call.finish(job.run(rows, heads * pairs));
  };
}

function gather(table: Float32Array, rowIndex: Int32Array, width: number, to: Float32Array, at: number): void {
  for (let row = 0; row < rowIndex.length; row++) {
    const from = rowIndex[row] * width;
    for (let i = 0; i < width; i++) to[at + row * width + i] = table[from + i];
  }
}

/** 0, 1, 2, ... as 32-bit integers. */
function count(bytes: Uint8Array, at: number, length: number): void {
  for (let i = 0; i < length; i++) {
    bytes[at + 4 * i] = i;
    bytes[at + 4 * i + 1] = i >> 8;
    bytes[at + 4 * i + 2] = i >> 16;
    bytes[at + 4 * i + 3] = i >> 24;
  }
}
