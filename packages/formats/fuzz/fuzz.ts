import { type Awaitable, isHalftoneError } from '@halftone/tensor';
import { type AllocationMeter, meterAllocations } from './allocations.js';
import { mutateBytes } from './mutate-bytes.js';
import { type Random, seededRandom } from './random.js';

/** A reader to be tried with damaged files. */
export interface FuzzTarget {
  readonly name: string;
  /** Valid files of some 300 bytes to 4 kB. Small ones: most changes should hit something. */
  seeds(): Awaitable<readonly Uint8Array[]>;
  /** Opens and reads everything there is. */
  read(bytes: Uint8Array): Awaitable<unknown>;
  /** Changes that know the format, for three quarters of the inputs. */
  mutate?(seed: Uint8Array, random: Random): Uint8Array;
  /** Bytes that it may allocate for an input of so many. Default: four times as many, and 64 kB. */
  allocation?(inputBytes: number): number;
}

export interface FuzzOptions {
  readonly runs: number;
  /** Default 1. */
  readonly seed?: number;
  /** Number of the first input. With `runs: 1` it repeats one that failed. Default 0. */
  readonly first?: number;
}

export interface FuzzFailure {
  readonly target: string;
  /** Give it as `first` to see it again. */
  readonly input: number;
  readonly problem: string;
  /** The input in base64. */
  readonly bytes: string;
}

export interface FuzzReport {
  readonly runs: number;
  /** Inputs that were refused with a HalftoneError; the others were read. */
  readonly refused: number;
  /** At most ten. */
  readonly failures: readonly FuzzFailure[];
}

const SLACK_BYTES = 64 * 1024;
const LONGEST_MILLISECONDS = 1000;
const MOST_FAILURES = 10;

/**
 * Reads damaged copies of a target's files, the same ones for the same seed. Each must be read or refused with a HalftoneError,
 * within a second, without allocating more than the target's limit.
 */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzReport> {
  const { runs, seed = 1, first = 0 } = options;
  const seeds = await target.seeds();
  for (const file of seeds) await target.read(file);
  const failures: FuzzFailure[] = [];
  let refused = 0;
  let done = 0;
  const meter = meterAllocations();
  try {
    for (; done < runs && failures.length < MOST_FAILURES; done++) {
      const bytes = makeInput(target, seeds, seededRandom(seed, first + done));
      const { problem, isRefused } = await tryInput(target, bytes, meter);
      if (isRefused) refused++;
      if (problem === undefined) continue;
      failures.push({
        target: target.name,
        input: first + done,
        problem,
        bytes: Buffer.from(bytes).toString('base64'),
      });
    }
  } finally {
    meter.restore();
  }
  return { runs: done, refused, failures };
}

function makeInput(target: FuzzTarget, seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const file = random.pick(seeds);
  if (target.mutate !== undefined && random.next() < 0.75) return target.mutate(file, random);
  return mutateBytes(file, random, seeds);
}

async function tryInput(
  target: FuzzTarget,
  bytes: Uint8Array,
  meter: AllocationMeter,
): Promise<{ problem?: string; isRefused?: boolean }> {
  const limit = target.allocation?.(bytes.length) ?? 4 * bytes.length + SLACK_BYTES;
  meter.take();
  const started = performance.now();
  let error: unknown;
  try {
    await target.read(bytes);
  } catch (caught) {
    error = caught ?? new Error('threw nothing');
  }
  const milliseconds = performance.now() - started;
  const allocated = meter.take();
  if (error !== undefined && !isHalftoneError(error)) return { problem: describe(error) };
  if (allocated > limit) return { problem: `allocated ${allocated} bytes for an input of ${bytes.length}` };
  if (milliseconds > LONGEST_MILLISECONDS) return { problem: `took ${Math.round(milliseconds)} ms` };
  return { isRefused: error !== undefined };
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${String(error)}`;
  return (error.stack ?? error.message).split('\n').slice(0, 4).join('\n');
}
