/**
 * `npm test`: every check that CI runs, in order, each with its time. The output of a check is shown when it fails.
 *
 *   npm test -- --list                 names of the checks
 *   npm test -- --only lint,unit       these checks only (and what they need)
 *   npm test -- --skip slow,demo       all but these
 *   npm test -- --verbose              show the output while it comes
 *
 * The last line is always `N passed, N failed`: test cases, plus one for each check that is not a test run.
 */
import process from 'node:process';
import { install, requireNode } from './bootstrap.mjs';

requireNode();
const options = parseArguments(process.argv.slice(2));
install();

// Only now: the checks import development dependencies.
const { CHECKS } = await import('./checks/index.mjs');

if (options.list) {
  for (const check of CHECKS) console.log(`${check.name.padEnd(12)} ${check.title}`);
  process.exit(0);
}
const unknown = [...options.only, ...options.skip].filter((name) => !CHECKS.some((check) => check.name === name));
if (unknown.length > 0) {
  console.error(`No check is called ${unknown.join(', ')}. Checks: ${CHECKS.map((check) => check.name).join(', ')}`);
  process.exit(2);
}

const selected = CHECKS.filter((check) => {
  const wanted = options.only.length === 0 || options.only.includes(check.name);
  const needed = CHECKS.some((other) => options.only.includes(other.name) && other.needs?.includes(check.name));
  return (wanted || needed) && !options.skip.includes(check.name);
});

let passed = 0;
let failed = 0;
const broken = new Set();
for (const check of selected) {
  const started = performance.now();
  /** @type {import('./checks/check.mjs').CheckResult} */
  let result;
  const missing = check.needs?.find((name) => broken.has(name));
  if (missing) result = { ok: false, output: `needs the check '${missing}', which failed` };
  else {
    try {
      result = await check.run({ verbose: options.verbose });
    } catch (error) {
      result = { ok: false, output: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const word = result.skipped ? 'skip' : result.ok ? 'pass' : 'FAIL';
  const note = result.skipped ?? result.note;
  console.log(`${word}  ${check.name.padEnd(12)} ${seconds.padStart(6)} s  ${check.title}${note ? ` (${note})` : ''}`);
  if (!result.ok) {
    broken.add(check.name);
    if (result.output) console.log(indent(result.output));
  }
  if (result.skipped) continue;
  passed += result.passed ?? (result.ok ? 1 : 0);
  failed += Math.max(result.failed ?? 0, result.ok ? 0 : 1);
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** @param {string} text */
function indent(text) {
  return text.trimEnd().replace(/^/gm, '      | ');
}

/** @param {readonly string[]} args */
function parseArguments(args) {
  const parsed = {
    list: false,
    verbose: false,
    only: /** @type {string[]} */ ([]),
    skip: /** @type {string[]} */ ([]),
  };
  for (let i = 0; i < args.length; i++) {
    const [flag, inline] = args[i].split('=', 2);
    if (flag === '--list') parsed.list = true;
    else if (flag === '--verbose') parsed.verbose = true;
    else if (flag === '--only' || flag === '--skip') {
      const names = inline ?? args[++i] ?? '';
      parsed[flag === '--only' ? 'only' : 'skip'].push(...names.split(',').filter(Boolean));
    } else {
      console.error(`Unknown option ${flag}. Usage: npm test -- [--list] [--only a,b] [--skip a,b] [--verbose]`);
      process.exit(2);
    }
  }
  return parsed;
}
