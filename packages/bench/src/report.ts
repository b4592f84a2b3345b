import { Console } from 'node:console';
import { cpus } from 'node:os';
import type { Awaitable } from '@halftone/tensor';

/** One measured line of a bench. */
export interface BenchResult {
  readonly name: string;
  readonly ours: number;
  readonly unit: string;
  /** The other implementation's figure, or a physical limit's, measured in the same run. */
  readonly peer?: number;
  readonly peerName?: string;
  /** Ours over the peer's so that larger is better. */
  readonly ratio?: number;
  readonly goal?: number;
}

export interface Bench {
  readonly title: string;
  readonly results: readonly BenchResult[];
}

/** One table, or with `--json` on the command line one JSON object and nothing else. */
export function printBench({ title, results }: Bench): void {
  const machine = `${cpus()[0]?.model.trim() ?? 'unknown'} x ${cpus().length}`;
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ title, machine, node: process.version, results })}\n`);
    return;
  }
  process.stdout.write(`${title}\n${machine}, Node ${process.version}\n`);
  new Console(process.stdout).table(Object.fromEntries(results.map((result) => [label(result), row(result)])));
}

/** Lines may share a name when they differ in the peer. */
function label({ name, peerName }: BenchResult): string {
  return peerName === undefined ? name : `${name}, against ${peerName}`;
}

function row({ ours, unit, peer, ratio, goal }: BenchResult) {
  return {
    ours: `${significant(ours)} ${unit}`.trim(),
    peer: peer === undefined ? '' : `${significant(peer)} ${unit}`.trim(),
    ratio: ratio === undefined ? '' : significant(ratio),
    goal: goal ?? '',
  };
}

function significant(value: number): string {
  return Number(value.toPrecision(4)).toString();
}

/** Best of several runs, in seconds. */
export function bestSeconds(run: () => void, repeats: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    run();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
}

/**
 * Best of several runs of each, in seconds. They take turns, so that a slow moment of the machine hits all of them; one turn comes
 * first to warm up.
 */
export async function bestSecondsInTurn(
  runs: readonly (() => Awaitable<unknown>)[],
  repeats: number,
): Promise<number[]> {
  const best = runs.map(() => Number.POSITIVE_INFINITY);
  for (let turn = -1; turn < repeats; turn++) {
    for (const [index, run] of runs.entries()) {
      const start = performance.now();
      await run();
      if (turn >= 0) best[index] = Math.min(best[index], (performance.now() - start) / 1000);
    }
    // Worker threads that a run has started report in between.
    await new Promise((resolve) => setTimeout(resolve, turn < 0 ? 100 : 0));
  }
  return best;
}

/** The number after `--name` on the command line. */
export function numberArgument(name: string, fallback: number): number {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}

/** The words after `--name` on the command line, separated by commas. */
export function listArgument(name: string, fallback: readonly string[]): readonly string[] {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : (process.argv[at + 1] ?? '').split(',').filter((word) => word !== '');
}
