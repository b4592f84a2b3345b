/**
 * Tries every reader with damaged files: `pnpm --filter @halftone/formats fuzz -- --runs 1000000 --target gguf --seed 7`.
 * `--first N --runs 1` repeats one input. Exits with 1 when a reader failed.
 */
import { listArgument, numberArgument } from '@halftone/bench';
import { fuzz } from './fuzz.js';
import { FUZZ_TARGETS } from './targets.js';

const runs = numberArgument('--runs', 20_000);
const seed = numberArgument('--seed', 1);
const first = numberArgument('--first', 0);
const names = listArgument(
  '--target',
  FUZZ_TARGETS.map(({ name }) => name),
);
for (const name of names) {
  const target = FUZZ_TARGETS.find((each) => each.name === name);
  if (target === undefined)
    throw new Error(`No target is called ${name}. Targets: ${FUZZ_TARGETS.map((each) => each.name).join(', ')}`);
  const started = performance.now();
  const report = await fuzz(target, { runs, seed, first });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(
    `${name}: ${report.runs} inputs, ${report.refused} refused, ${report.failures.length} failed, ${seconds} s\n`,
  );
  for (const { input, problem, bytes } of report.failures) {
    process.exitCode = 1;
    process.stdout.write(`\ninput ${input}: ${problem}\n${bytes}\n\n`);
  }
}
