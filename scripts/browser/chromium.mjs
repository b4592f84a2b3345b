/** Finds the Chromium of this machine, and in CI installs the distribution's. Nothing else is ever downloaded. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { execute } from '../workspace.mjs';

const COMMANDS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const INSTALL_MILLISECONDS = 300_000;

/**
 * The path of `CHROMIUM_PATH`, else of the first of the usual commands. Where CI runs as root on Debian or a relative of it
 * and there is none, `apt-get` installs it.
 * @returns {Promise<{ path?: string, tried?: string }>} `tried`: what `apt-get` said
 */
export async function findChromium() {
  const given = process.env.CHROMIUM_PATH;
  if (given) {
    if (!existsSync(given)) throw new Error(`CHROMIUM_PATH is ${given}, where there is no file`);
    return { path: given };
  }
  const found = onPath(COMMANDS);
  if (found) return { path: found };
  const mayInstall = process.env.CI === 'true' && process.getuid?.() === 0 && onPath(['apt-get']) !== undefined;
  if (!mayInstall) return {};
  const tried = await installChromium();
  return { path: onPath(COMMANDS), tried };
}

/** @returns {Promise<string>} the output of the last step */
async function installChromium() {
  const install = ['install', '-y', '--no-install-recommends', 'chromium'];
  const first = await aptGet(install);
  if (first.code === 0) return first.output;
  // A fresh image has no package lists, or old ones.
  const updated = await aptGet(['update']);
  return updated.code === 0 ? (await aptGet(install)).output : updated.output;
}

/** @param {string[]} args */
function aptGet(args) {
  return execute('apt-get', args, { env: { DEBIAN_FRONTEND: 'noninteractive' }, timeout: INSTALL_MILLISECONDS });
}

/** @param {readonly string[]} commands */
function onPath(commands) {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  return commands.flatMap((command) => folders.map((folder) => join(folder, command))).find((file) => existsSync(file));
}
