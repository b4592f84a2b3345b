import { cpus } from 'node:os';

/** One measured line. `ratio` is ours over the peer's (or the limit's), larger is better. */
export interface BenchResult {
  readonly name: string;
  readonly ours: number;
  readonly unit: string;
  readonly peer?: number;
  readonly peerName?: string;
  readonly ratio?: number;
  readonly goal?: number;
}

export interface Bench {
  readonly title: string;
  readonly machine: string;
  readonly node: string;
  readonly results: readonly BenchResult[];
}

/** One table, or with `--json` one JSON object. */
export function printBench(bench: Bench): void {
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify(bench)}\n`);
    return;
  }
  const rows = bench.results.map(({ name, ours, unit, peer, peerName, ratio, goal }) => ({
    name,
    ours: `${round(ours)} ${unit}`,
    peer: peer === undefined ? '' : `${round(peer)} ${unit} (${peerName})`,
    ratio: ratio === undefined ? '' : round(ratio),
    goal: goal ?? '',
  }));
  process.stdout.write(`${bench.title}\n${bench.machine}, Node ${bench.node}\n`);
  console.table(rows);
}

export function machineName(): string {
  const all = cpus();
  return `${all[0]?.model ?? 'unknown'} x ${all.length}`;
}

export function numberArgument(name: string, fallback: number): number {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}

function round(value: number): string {
  return Number(value.toPrecision(4)).toString();
}
