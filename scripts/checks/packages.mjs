/**
 * What users get: packs every public package, holds the tarballs against publint and attw, installs all of them in an
 * empty project, and there loads every entry point with `import` and with `require`, and type-checks a consumer.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { gunzipSync } from 'node:zlib';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { pnpmCommand } from '../bootstrap.mjs';
import { entryPoints, execute, readPackages, root, tool } from '../workspace.mjs';

/** @returns {Promise<import('./check.mjs').CheckResult>} */
export async function checkPackages() {
  const folder = mkdtempSync(join(tmpdir(), 'halftone-packages-'));
  try {
    return await checkTarballs(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} folder */
async function checkTarballs(folder) {
  const packages = readPackages().filter((pkg) => !pkg.private);
  /** @type {string[]} */
  const problems = [];
  /** @type {Map<string, string>} tarball of each package */
  const tarballs = new Map();
  const [pnpm, ...prefix] = pnpmCommand();

  for (const pkg of packages) {
    const destination = join(folder, pkg.folder);
    mkdirSync(destination);
    const packed = await execute(pnpm, [...prefix, 'pack', '--pack-destination', destination], { cwd: pkg.path });
    const file = readdirSync(destination)[0];
    if (packed.code !== 0 || !file) {
      problems.push(`${pkg.name}: pnpm pack failed\n${packed.output}`);
      continue;
    }
    const tarball = join(destination, file);
    tarballs.set(pkg.name, tarball);

    const bytes = readFileSync(tarball);
    const tarballBytes = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const { messages, pkg: manifest } = await publint({ pack: { tarball: tarballBytes } });
    for (const message of messages)
      problems.push(`${pkg.name}: publint: ${formatMessage(message, manifest, { color: false })}`);

    const names = tarNames(gunzipSync(bytes));
    for (const wanted of ['package/LICENSE', 'package/README.md']) {
      if (!names.includes(wanted)) problems.push(`${pkg.name}: the tarball has no ${wanted.slice(8)}`);
    }
    if (entryPoints(pkg).length > 0) {
      const attw = await tool('@arethetypeswrong/cli/dist/index.js', [
        tarball,
        '--profile',
        'esm-only',
        '--no-color',
        '--no-emoji',
      ]);
      if (attw.code !== 0) problems.push(`${pkg.name}: attw\n${attw.output}`);
    }
  }
  if (tarballs.size === packages.length)
    problems.push(...(await consumerProblems(join(folder, 'consumer'), packages, tarballs)));
  return { ok: problems.length === 0, output: problems.join('\n'), note: `${tarballs.size} tarballs` };
}

/** Names of the entries of a tar file: 512-byte headers, each followed by its data. @param {Buffer} tar */
function tarNames(tar) {
  /** @type {string[]} */
  const names = [];
  /** @param {number} start @param {number} length */
  const field = (start, length) => tar.toString('latin1', start, start + length).replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    names.push(field(at, 100));
    at += 512 + Math.ceil(Number.parseInt(field(at + 124, 12), 8) / 512) * 512;
  }
  return names;
}

/**
 * @param {string} folder
 * @param {readonly import('../workspace.mjs').Package[]} packages
 * @param {ReadonlyMap<string, string>} tarballs
 */
async function consumerProblems(folder, packages, tarballs) {
  mkdirSync(folder);
  const files = Object.fromEntries([...tarballs].map(([name, file]) => [name, `file:${file}`]));
  const peers = Object.assign({}, ...packages.map((pkg) => pkg.manifest.peerDependencies));
  const types = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies['@types/node'];
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({
      name: 'consumer',
      private: true,
      type: 'module',
      dependencies: { ...peers, ...files },
      devDependencies: { '@types/node': types },
      overrides: files,
    }),
  );
  const install = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  const installed = await execute('npm', install, { cwd: folder });
  if (installed.code !== 0) return [`installing the tarballs failed\n${installed.output}`];

  const specifiers = packages.flatMap((pkg) => entryPoints(pkg).map((entry) => entry.specifier));
  const list = JSON.stringify(specifiers);
  writeFileSync(
    join(folder, 'load.mjs'),
    `import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
for (const specifier of ${list}) {
  const imported = await import(specifier);
  if (require(specifier) !== imported) throw new Error(specifier + ': require gives another module than import');
}
`,
  );
  writeFileSync(
    join(folder, 'load.cjs'),
    `for (const specifier of ${list}) {
  if (typeof require(specifier) !== 'object') throw new Error(specifier + ': nothing exported');
}
`,
  );
  writeFileSync(
    join(folder, 'consumer.ts'),
    `${specifiers.map((specifier, i) => `import * as entry${i} from '${specifier}';`).join('\n')}
export const entries: readonly object[] = [${specifiers.map((_, i) => `entry${i}`).join(', ')}];
`,
  );
  const compilerOptions = {
    target: 'ES2022',
    module: 'NodeNext',
    lib: ['ES2023', 'DOM'],
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    types: ['node'],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));

  const steps = await Promise.all([
    execute(process.execPath, ['load.mjs'], { cwd: folder }),
    execute(process.execPath, ['load.cjs'], { cwd: folder }),
    tool('typescript/bin/tsc', ['-p', folder], { cwd: folder }),
  ]);
  const titles = ['import of every entry point', 'require of every entry point', 'type check of a consumer'];
  const problems = steps.flatMap(({ code, output }, i) => (code === 0 ? [] : [`${titles[i]} failed\n${output}`]));
  for (const pkg of packages) {
    for (const command of Object.keys(pkg.manifest.bin ?? {})) {
      const { code, output } = await execute(join(folder, 'node_modules', '.bin', command), ['--help'], {
        cwd: folder,
      });
      if (code !== 0) problems.push(`${command} --help failed\n${output}`);
    }
  }
  return problems;
}
