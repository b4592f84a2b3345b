/**
 * Facts about the files themselves: nothing of one person's machine or of one registry is committed, names say what a
 * file holds, files stay of a readable size, and every package has what a reader expects in it.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readPackages, repositoryFiles, root } from '../workspace.mjs';

const MAX_FILE_BYTES = 1 << 20;
const MAX_SOURCE_LINES = 400;
/** Data that a package ships may be larger: weights and tokenizers. */
const LARGE_DATA = /^packages\/[^/]+\/model\//;

const folder = '(?:work|tmp|root|home|farm|Users)';
/** @type {readonly { what: string, pattern: RegExp }[]} */
const FORBIDDEN = [
  { what: 'path of a machine', pattern: new RegExp(`(?:^|[\\s'"\`(=:])/${folder}/[\\w.-]+`) },
  { what: 'path of a Windows machine', pattern: /\b[A-Z]:\\\\?Users\b/ },
  { what: 'registry host', pattern: /\bregistry\.[a-z-]+\.[a-z]+|\/artifactory\/|\.pkg\.dev\b/ },
];
const TEXT = /\.(ts|mts|mjs|cjs|js|json|md|ya?ml|sh|toml)$|(^|\/)(run|LICENSE|\.gitignore|\.npmrc)$/;

/** @returns {Promise<import('./check.mjs').CheckResult>} */
export async function checkHygiene() {
  /** @type {string[]} */
  const problems = [];
  const files = await repositoryFiles();
  for (const file of files) {
    const size = statSync(join(root, file)).size;
    if (size > MAX_FILE_BYTES && !LARGE_DATA.test(file))
      problems.push(`${file}: ${size} bytes; keep large data out of the repository`);
    if (/(^|\/)(utils?|helpers?|common|misc)(\.\w+)?(\/|$)/.test(file))
      problems.push(`${file}: a name that says nothing`);
    if (!TEXT.test(file) || size > MAX_FILE_BYTES || LARGE_DATA.test(file)) continue;
    const lines = readFileSync(join(root, file), 'utf8').split('\n');
    for (const [i, line] of lines.entries()) {
      for (const { what, pattern } of FORBIDDEN)
        if (pattern.test(line)) problems.push(`${file}:${i + 1}: ${what}: ${line.trim().slice(0, 120)}`);
    }
    if (/^packages\/[^/]+\/src\/.*\.ts$/.test(file) && lines.length > MAX_SOURCE_LINES) {
      problems.push(`${file}: ${lines.length} lines; one algorithm a file, at most ${MAX_SOURCE_LINES} lines`);
    }
  }
  for (const pkg of readPackages()) {
    if (!pkg.private && !existsSync(join(pkg.path, 'README.md'))) problems.push(`packages/${pkg.folder}: no README.md`);
    if (!files.some((file) => file.startsWith(`packages/${pkg.folder}/test/`)))
      problems.push(`packages/${pkg.folder}: no tests`);
    for (const field of ['description', 'license', 'type', 'engines', 'exports']) {
      if (!(field in pkg.manifest)) problems.push(`packages/${pkg.folder}/package.json: no "${field}"`);
    }
    if (pkg.private) continue;
    if (pkg.manifest.publishConfig?.access !== 'public')
      problems.push(`packages/${pkg.folder}/package.json: publishConfig.access is not "public"`);
    if (pkg.manifest.sideEffects !== false)
      problems.push(`packages/${pkg.folder}/package.json: "sideEffects" is not false`);
  }
  return { ok: problems.length === 0, output: problems.join('\n'), note: `${files.length} files` };
}
