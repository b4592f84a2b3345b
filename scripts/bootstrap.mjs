/**
 * Makes a fresh clone ready to work in, with nothing but Node and npm: checks the Node version, installs the locked
 * dependencies when they changed, and builds the packages whose sources changed.
 * It must run before anything is installed, so it imports only Node's own modules.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const installStamp = join(root, 'node_modules', '.halftone-install');

/** Stops with a plain sentence when this Node is older than `engines` allows. */
export function requireNode() {
  const wanted = manifest.engines.node.replace(/[^0-9.]/g, '');
  const [wantedMajor, wantedMinor = 0] = wanted.split('.').map(Number);
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  console.error(
    `Halftone needs Node ${wanted} or later; this is Node ${process.versions.node} (${process.execPath}).\n` +
      'Install a current Node, or switch with your version manager, then run the command again.',
  );
  process.exit(1);
}

/**
 * The command line that runs pnpm at the version of `packageManager`: the one on PATH when it is that version (pnpm
 * itself, or corepack's shim), else through npx.
 * @returns {string[]}
 */
export function pnpmCommand() {
  const wanted = manifest.packageManager.replace(/^pnpm@/, '');
  const found = spawnSync('pnpm', ['--version'], {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, COREPACK_ENABLE_DOWNLOAD_PROMPT: '0' },
  });
  if (found.status === 0 && found.stdout.trim() === wanted) return ['pnpm'];
  return ['npx', '--yes', `pnpm@${wanted}`];
}

/** Installs the locked dependencies, unless the last install was of the same lockfile and manifests. */
export function install() {
  const key = installKey();
  if (existsSync(installStamp) && readFileSync(installStamp, 'utf8') === key) return;
  console.error('Installing dependencies...');
  const [command, ...prefix] = pnpmCommand();
  const result = spawnSync(command, [...prefix, 'install', '--frozen-lockfile', '--prefer-offline'], {
    cwd: root,
    shell: process.platform === 'win32',
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    // CI=true keeps pnpm from asking questions that nobody would answer.
    env: { ...process.env, CI: 'true' },
  });
  if (result.status !== 0) {
    console.error(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`);
    console.error(
      `The install failed: ${[command, ...prefix].join(' ')} install --frozen-lockfile.\n` +
        'It fails without a network, and when pnpm-lock.yaml does not match a package.json that was edited (run `pnpm install`).',
    );
    process.exit(1);
  }
  writeFileSync(installStamp, key);
}

function installKey() {
  const hash = createHash('sha256');
  hash.update(`${process.platform} ${process.arch}\n`);
  const manifests = readdirSync(join(root, 'packages')).map((folder) => join('packages', folder, 'package.json'));
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', ...manifests]) {
    const path = join(root, file);
    if (existsSync(path)) hash.update(`${file}\n`).update(readFileSync(path));
  }
  return hash.digest('hex');
}

/** Node version, install, build: after this every package can be imported. */
export async function bootstrap() {
  requireNode();
  mkdirSync(join(root, 'node_modules'), { recursive: true });
  install();
  const { build } = await import('./build.mjs');
  try {
    await build();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await bootstrap();
