/**
 * Parameters of blocks that run over the whole tensor, row after row, as bitsandbytes and HQQ (axis 1) have them.
 *
 * Where rows are not whole numbers of blocks, blocks cross rows, and no group size along the rows has one parameter for each
 * block. The greatest common divisor of both has: a run of so many elements lies in one row and in one block. Parameters are
 * then repeated, one for each run.
 */

/** The longest run that divides both blocks and rows. Both at least 1. */
export function flatRun(blockSize: number, columns: number): number {
  let [a, b] = [blockSize, columns];
  while (b > 0) [a, b] = [b, a % b];
  return a;
}

/** One value for each of `count` runs, from one for each block. The same array where runs are blocks. */
export function blocksToRuns<A extends Uint8Array | Uint16Array | Uint32Array | Float32Array>(
  blocks: A,
  blockSize: number,
  run: number,
  count: number,
): A {
  if (run === blockSize) return blocks;
  const runs = new (blocks.constructor as new (length: number) => A)(count);
  const runsInBlock = blockSize / run;
  for (let i = 0; i < count; i++) runs[i] = blocks[Math.floor(i / runsInBlock)] as number;
  return runs;
}

/** One value for each block, or undefined where two runs of a block differ or a run does not divide a block. */
export function runsToBlocks<A extends Uint8Array | Float32Array>(
  runs: A,
  run: number,
  blockSize: number,
): A | undefined {
  if (run === blockSize) return runs;
  if (blockSize % run !== 0) return undefined;
  const runsInBlock = blockSize / run;
  const blocks = new (runs.constructor as new (length: number) => A)(Math.ceil(runs.length / runsInBlock));
  for (let i = 0; i < runs.length; i++) {
    const block = Math.floor(i / runsInBlock);
    if (i % runsInBlock === 0) blocks[block] = runs[i] as number;
    else if (!Object.is(blocks[block], runs[i])) return undefined;
  }
  return blocks;
}
