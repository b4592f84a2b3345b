/** The checks of `npm test`, in the order they run: quick ones first. */
import { join } from 'node:path';
import process from 'node:process';
import { build } from '../build.mjs';
import { execute, root, tool } from '../workspace.mjs';
import { checkBrowser } from './browser.mjs';
import { checkChangesets } from './changesets.mjs';
import { checkDemo } from './demo.mjs';
import { checkHygiene } from './hygiene.mjs';
import { checkLayers } from './layers.mjs';
import { checkLinks } from './links.mjs';
import { checkPackages } from './packages.mjs';
import { checkReadmeExamples } from './readme-examples.mjs';
import { NODE_24, runVitest } from './vitest.mjs';

/**
 * @typedef {object} Context
 * @property {boolean} verbose
 *
 * @typedef {object} Check
 * @property {string} name
 * @property {string} title
 * @property {readonly string[]} [needs]   names of checks that must have passed before
 * @property {(context: Context) => Promise<import('./check.mjs').CheckResult>} run
 */

/** @type {readonly Check[]} */
export const CHECKS = [
  {
    name: 'lint',
    title: 'formatting and lint rules (biome)',
    run: (context) => fromTool('@biomejs/biome/bin/biome', ['check', '--error-on-warnings', '.'], context),
  },
  {
    name: 'types',
    title: 'type check of sources, tests and scripts',
    run: (context) => fromTool('typescript/bin/tsc', ['-p', 'scripts/tsconfig.json'], context),
  },
  { name: 'layers', title: 'imports follow the layer table', run: checkLayers },
  { name: 'hygiene', title: 'no machine paths, registry hosts or stray files', run: checkHygiene },
  { name: 'links', title: 'links of the documentation lead somewhere', run: checkLinks },
  { name: 'changesets', title: 'changesets name real packages and cover new ones', run: checkChangesets },
  {
    name: 'build',
    title: 'packages build',
    run: async () => {
      try {
        await build();
        return { ok: true };
      } catch (error) {
        return { ok: false, output: error instanceof Error ? error.message : String(error) };
      }
    },
  },
  { name: 'unit', title: `unit tests on Node ${process.versions.node}`, run: (context) => runVitest('unit', context) },
  { name: 'unit-24', title: 'unit tests on Node 24', run: (context) => runVitest('unit', context, NODE_24) },
  { name: 'slow', title: 'slow tests', run: (context) => runVitest('slow', context) },
  { name: 'readme', title: 'examples of the documentation run', needs: ['build'], run: checkReadmeExamples },
  {
    name: 'api',
    title: 'API site builds without warnings (typedoc)',
    run: async ({ verbose }) => {
      const { code, output } = await execute(process.execPath, [join(root, 'scripts', 'api-docs.mjs')], {
        live: verbose,
      });
      return { ok: code === 0, output };
    },
  },
  {
    name: 'size',
    title: 'size budgets of .size-limit.json',
    needs: ['build'],
    run: (context) => fromTool('size-limit/bin.js', [], context),
  },
  {
    name: 'packages',
    title: 'packed tarballs: publint, attw, import, require, types',
    needs: ['build'],
    run: checkPackages,
  },
  {
    name: 'browser',
    title: 'Vite, webpack and esbuild bundles in headless Chromium',
    needs: ['build'],
    run: checkBrowser,
  },
  { name: 'demo', title: 'the demo runs', needs: ['build'], run: checkDemo },
];

/** @param {string} file @param {readonly string[]} args @param {Context} context */
async function fromTool(file, args, { verbose }) {
  const { code, output } = await tool(file, args, { live: verbose });
  return { ok: code === 0, output };
}
