import {
  algebraTile,
  BATCH,
  BLOCK_COLUMNS,
  BLOCK_ROWS,
  SUM_DEPTH,
  TEMPORARY_BYTES,
} from '../../src/internal/algebra/blocking.js';
import type { Build } from '../unroll.js';
import type { Element } from './element.js';

/** Many products of one shape, each packed and multiplied by one thread. The shape is a record in memory, `BATCH`. */
export function batchSource(build: Build, { scalar, bytes, suffix }: Element): string {
  const { rows, columns } = algebraTile(build, bytes);
  const field = (name: keyof typeof BATCH) => `load<i32>(record, ${4 * BATCH[name]})`;
  const factor = (name: 'alpha' | 'beta') => `load<${scalar}>(record, ${4 * BATCH[name]})`;
  return `
export function batch${suffix}(record: usize, a: usize, b: usize, c: usize, count: i32, scratch: usize): void {
  const m = ${field('m')}, n = ${field('n')}, k = ${field('k')};
  const tiles = (m + ${rows - 1}) / ${rows}, panels = (n + ${columns - 1}) / ${columns};
  const down = (m + ${BLOCK_ROWS - 1}) / ${BLOCK_ROWS}, across = (n + ${BLOCK_COLUMNS - 1}) / ${BLOCK_COLUMNS};
  const packedA = scratch + ${TEMPORARY_BYTES}, packedB = packedA + <usize>(tiles * min(k, ${SUM_DEPTH}) * ${rows * bytes});
  do {
    for (let k0 = 0; k0 < k; k0 += ${SUM_DEPTH}) {
      const depth = min(k - k0, ${SUM_DEPTH});
      packRows${suffix}(a + <usize>(k0 * ${field('depthStepA')}), ${field('rowStepA')}, ${field('depthStepA')}, m, depth, packedA, tiles);
      packColumns${suffix}(b + <usize>(k0 * ${field('depthStepB')}), ${field('columnStepB')}, ${field('depthStepB')}, n, depth, packedB, panels);
      multiply${suffix}(
        0, down * across, across, packedA, packedB, c, ${field('rowStepC')}, m, n, depth,
        ${factor('alpha')}, k0 == 0 ? ${factor('beta')} : 1, 0x40000000, scratch
      );
    }
    a += <usize>${field('stepA')}; b += <usize>${field('stepB')}; c += <usize>${field('stepC')};
  } while (--count);
}
`;
}
