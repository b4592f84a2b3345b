/**
 * The changesets in .changeset/ can be read and name packages of the workspace, and every public package that was
 * never released has one. On a branch, a changed package without a changeset is reported by `changeset status`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execute, readPackages, root, tool } from '../workspace.mjs';

/** @returns {Promise<import('./check.mjs').CheckResult>} */
export async function checkChangesets() {
  const since = await comparisonCommit();
  const { code, output } = await tool('@changesets/cli/bin.js', ['status', `--since=${since}`]);
  if (code !== 0) return { ok: false, output };
  const folder = join(root, '.changeset');
  const texts = readdirSync(folder)
    .filter((file) => file.endsWith('.md') && file !== 'README.md')
    .map((file) => readFileSync(join(folder, file), 'utf8').split('---')[1] ?? '');
  const problems = readPackages()
    .filter((pkg) => !pkg.private && pkg.manifest.version === '0.0.0')
    .filter((pkg) => !texts.some((text) => new RegExp(`['"]${pkg.name}['"]\\s*:`).test(text)))
    .map((pkg) => `${pkg.name} was never released and no changeset names it: run \`pnpm changeset\``);
  return { ok: problems.length === 0, output: problems.join('\n'), note: `${texts.length} pending` };
}

/** Where this branch left main; the current commit where there is no main to compare with. */
async function comparisonCommit() {
  for (const branch of ['origin/main', 'main']) {
    const { code, stdout } = await execute('git', ['merge-base', 'HEAD', branch]);
    if (code === 0) return stdout.trim();
  }
  return 'HEAD';
}
