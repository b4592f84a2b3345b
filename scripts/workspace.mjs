/** What the scripts know about the packages of this workspace, read from their manifests. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { root } from './bootstrap.mjs';

export { root };

/**
 * @typedef {object} Package
 * @property {string} folder   its folder below packages/
 * @property {string} path     the absolute path of that folder
 * @property {string} name
 * @property {boolean} private
 * @property {Record<string, any>} manifest
 */

/** @returns {Package[]} by folder name */
export function readPackages() {
  return readdirSync(join(root, 'packages'))
    .sort()
    .filter((folder) => existsSync(join(root, 'packages', folder, 'package.json')))
    .map((folder) => {
      const path = join(root, 'packages', folder);
      const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
      return { folder, path, name: manifest.name, private: manifest.private === true, manifest };
    });
}

/**
 * The packages of this workspace that `pkg` needs at run time.
 * @param {Package} pkg
 * @param {readonly Package[]} packages
 */
export function workspaceDependencies(pkg, packages) {
  const names = Object.keys({ ...pkg.manifest.dependencies, ...pkg.manifest.peerDependencies });
  return packages.filter((other) => names.includes(other.name));
}

/**
 * The import specifiers that a package offers, without `./package.json` and patterns of data files.
 * @param {Package} pkg
 * @returns {{ specifier: string, target: Record<string, string> }[]}
 */
export function entryPoints(pkg) {
  return Object.entries(pkg.manifest.exports ?? {})
    .filter(([, target]) => typeof target === 'object')
    .map(([key, target]) => ({ specifier: pkg.name + key.slice(1), target }));
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: Record<string, string | undefined>, live?: boolean, timeout?: number }} [options]
 *   `live`: also show the output; `timeout` in milliseconds
 * @returns {Promise<{ code: number, output: string, stdout: string }>}
 */
export function execute(command, args, { cwd = root, env = {}, live = false, timeout } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout,
    });
    let output = '';
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      output += text;
      if (live) process.stderr.write(text);
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output += text;
      if (live) process.stderr.write(text);
    });
    child.on('error', (error) => resolve({ code: 1, output: `${output}${error.message}\n`, stdout }));
    child.on('close', (code) => resolve({ code: code ?? 1, output, stdout }));
  });
}

/**
 * Runs a development tool's own JavaScript with a Node binary: no shell, no PATH.
 * @param {string} file relative to the root's node_modules
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: Record<string, string | undefined>, live?: boolean, timeout?: number, node?: string }} [options]
 */
export function tool(file, args, { node = process.execPath, ...options } = {}) {
  return execute(node, [join(root, 'node_modules', file), ...args], options);
}

/** Every file that git tracks or would track, relative to the root. */
export async function repositoryFiles() {
  const { code, stdout, output } = await execute('git', [
    'ls-files',
    '-z',
    '--cached',
    '--others',
    '--exclude-standard',
  ]);
  if (code !== 0) throw new Error(output);
  return [...new Set(stdout.split('\0'))].filter((file) => file !== '' && existsSync(join(root, file))).sort();
}
