/**
 * Builds the packages whose content changed since their last build, in dependency order, two at a time.
 * A package's stamp is a hash of its own sources and of its dependencies' stamps, so a change travels upwards.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { entryPoints, execute, readPackages, root, workspaceDependencies } from './workspace.mjs';

const stampFolder = join(root, 'node_modules', '.cache', 'halftone-build');
const PARALLEL = 2;

/** @param {{ force?: boolean }} [options] */
export async function build({ force = false } = {}) {
  mkdirSync(stampFolder, { recursive: true });
  const packages = readPackages();
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const common = `${JSON.stringify(devDependencies)} ${hashFiles([join(root, 'tsconfig.base.json')])}`;
  /** @type {Map<string, Promise<string>>} stamp of each package, once it is built */
  const stamps = new Map();
  const slots = Array.from({ length: PARALLEL }, () => Promise.resolve());
  let next = 0;

  /** @param {import('./workspace.mjs').Package} pkg @returns {Promise<string>} */
  const stampOf = (pkg) => {
    const known = stamps.get(pkg.name);
    if (known) return known;
    const promise = (async () => {
      const below = await Promise.all(workspaceDependencies(pkg, packages).map(stampOf));
      const stamp = createHash('sha256')
        .update([common, hashFiles(sourcesOf(pkg)), ...below].join('\n'))
        .digest('hex');
      if (force || !isBuilt(pkg, stamp)) {
        const slot = next++ % PARALLEL;
        const turn = slots[slot].then(() => buildPackage(pkg, stamp));
        slots[slot] = turn.catch(() => undefined);
        await turn;
      }
      return stamp;
    })();
    stamps.set(pkg.name, promise);
    return promise;
  };
  await Promise.all(packages.map(stampOf));
}

/** @param {import('./workspace.mjs').Package} pkg @param {string} stamp */
async function buildPackage(pkg, stamp) {
  const started = performance.now();
  const stampFile = join(stampFolder, pkg.folder);
  rmSync(stampFile, { force: true });
  const steps = String(pkg.manifest.scripts.build).split('&&');
  for (const step of steps) {
    const [name, ...args] = step.trim().split(/\s+/);
    const { code, output } = await execute(process.execPath, [toolPath(name), ...args], { cwd: pkg.path });
    if (code !== 0) throw new Error(`Building ${pkg.name} failed at \`${step.trim()}\`:\n${output}`);
  }
  writeFileSync(stampFile, stamp);
  console.error(`built ${pkg.name} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

/** A build step is a tool of the workspace, or a script of the package run with node. @param {string} name */
function toolPath(name) {
  const tools = /** @type {Record<string, string>} */ ({
    tsup: 'tsup/dist/cli-default.js',
    tsc: 'typescript/bin/tsc',
  });
  if (tools[name]) return join(root, 'node_modules', tools[name]);
  if (name === 'node') return '--';
  throw new Error(
    `Build step '${name}' is not one of ${Object.keys(tools).join(', ')}, node; add it to scripts/build.mjs.`,
  );
}

/** @param {import('./workspace.mjs').Package} pkg @param {string} stamp */
function isBuilt(pkg, stamp) {
  const stampFile = join(stampFolder, pkg.folder);
  if (!existsSync(stampFile) || readFileSync(stampFile, 'utf8') !== stamp) return false;
  return entryPoints(pkg).every(
    ({ target }) => existsSync(join(pkg.path, target.default)) && existsSync(join(pkg.path, target.types)),
  );
}

/** @param {import('./workspace.mjs').Package} pkg */
function sourcesOf(pkg) {
  const files = readdirSync(pkg.path, { withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mts|mjs|json)$/.test(entry.name))
    .map((entry) => join(pkg.path, entry.name));
  const folders = ['src', 'scripts'].map((folder) => join(pkg.path, folder)).filter((folder) => existsSync(folder));
  for (const folder of folders) {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) files.push(join(entry.parentPath, entry.name));
    }
  }
  return files.sort();
}

/** @param {readonly string[]} files */
function hashFiles(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    if (existsSync(file)) hash.update(`${relative(root, file)}\n`).update(readFileSync(file));
  }
  return hash.digest('hex');
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await build({ force: process.argv.includes('--force') });
