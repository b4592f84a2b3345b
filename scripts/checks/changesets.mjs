/**
 * Every changeset names packages of the workspace with a valid step, and every public package that was never released
 * has one. On a branch, `changeset status` also reports packages that the branch changed without saying so.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execute, readPackages, root, tool } from '../workspace.mjs';

/** @returns {Promise<import('./check.mjs').CheckResult>} */
export async function checkChangesets() {
  const packages = readPackages().filter((pkg) => !pkg.private);
  const folder = join(root, '.changeset');
  /** @type {string[]} */
  const problems = [];
  const named = new Set();
  const files = readdirSync(folder).filter((file) => file.endsWith('.md') && file !== 'README.md');
  for (const file of files) {
    const [, header = '', summary = ''] = readFileSync(join(folder, file), 'utf8').split(/^---$/m);
    if (summary.trim() === '') problems.push(`.changeset/${file}: no sentence for the changelog`);
    for (const line of header.trim().split('\n').filter(Boolean)) {
      const [, name, step] = /^["']?([^"':]+)["']?:\s*(\w+)$/.exec(line) ?? [];
      if (!packages.some((pkg) => pkg.name === name))
        problems.push(`.changeset/${file}: no public package for: ${line}`);
      if (!['patch', 'minor', 'major'].includes(step))
        problems.push(`.changeset/${file}: patch, minor or major: ${line}`);
      named.add(name);
    }
  }
  for (const pkg of packages) {
    if (pkg.manifest.version === '0.0.0' && !named.has(pkg.name)) {
      problems.push(`${pkg.name} was never released and no changeset names it: run \`pnpm changeset\``);
    }
  }
  const base = await branchPoint();
  if (base) {
    const { code, output } = await tool('@changesets/cli/bin.js', ['status', `--since=${base}`]);
    if (code !== 0) problems.push(output);
  }
  return { ok: problems.length === 0, output: problems.join('\n'), note: `${files.length} pending` };
}

/** Where this branch left main; nothing on main itself and where there is no main to compare with. */
async function branchPoint() {
  const head = (await execute('git', ['rev-parse', 'HEAD'])).stdout.trim();
  for (const branch of ['origin/main', 'main']) {
    const { code, stdout } = await execute('git', ['merge-base', 'HEAD', branch]);
    if (code === 0) return stdout.trim() === head || (await onMain()) ? undefined : stdout.trim();
  }
  return undefined;
}

async function onMain() {
  return (await execute('git', ['branch', '--show-current'])).stdout.trim() === 'main';
}
