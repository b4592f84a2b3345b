/** Runs the demo in an empty folder and looks for the file that it says it wrote. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { execute, root } from '../workspace.mjs';

/** @param {{ verbose: boolean }} context @returns {Promise<import('./check.mjs').CheckResult>} */
export async function checkDemo({ verbose }) {
  const cwd = mkdtempSync(join(tmpdir(), 'halftone-demo-'));
  try {
    const { code, output } = await execute(process.execPath, [join(root, 'packages', 'cli', 'dist', 'demo.js')], {
      cwd,
      live: verbose,
    });
    const named = [...output.matchAll(/\S+\.gguf\b/g)].map((match) => resolve(cwd, match[0]));
    const written = named.some((file) => existsSync(file));
    return {
      ok: code === 0 && written,
      output: written ? output : `${output}\nno .gguf that the demo names exists: ${named.join(', ')}`,
    };
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}
