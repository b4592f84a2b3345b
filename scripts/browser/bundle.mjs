/**
 * Bundles packages/browser-tests as a user of the bundler would, with as few settings as it takes, from the built packages.
 * A process of its own, because bundlers change the environment they run in:
 *
 *   node scripts/browser/bundle.mjs page vite FOLDER               the whole page, ready to be served
 *   node scripts/browser/bundle.mjs program esbuild NAME FOLDER    FOLDER/NAME.js, from src/NAME.ts
 *
 * Writes one line of JSON, the warnings and, for programs, the names of the files that were bundled.
 */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { root } from '../workspace.mjs';

/** @typedef {{ warnings: string[], inputs: string[] }} Bundled */

const project = join(root, 'packages', 'browser-tests');
const dist = join(project, 'dist');
const TARGET = 'es2022';

/** @type {Record<string, (folder: string) => Promise<Bundled>>} */
const PAGE_BUNDLERS = {
  vite: bundleWithVite,
  async webpack(folder) {
    const bundled = await bundleWithWebpack(join(dist, 'page.js'), join(folder, 'dist'));
    copyPage(folder);
    return bundled;
  },
  async esbuild(folder) {
    // esbuild leaves `new Worker(new URL('./worker.js', import.meta.url))` as it is: the worker is an entry of its own.
    const bundled = await bundleWithEsbuild([join(dist, 'page.js'), join(dist, 'worker.js')], join(folder, 'dist'));
    copyPage(folder);
    return bundled;
  },
};

/** @type {Record<string, (entry: string, folder: string) => Promise<Bundled>>} */
const PROGRAM_BUNDLERS = {
  webpack: bundleWithWebpack,
  esbuild: (entry, folder) => bundleWithEsbuild([entry], folder),
};

/** @param {string} folder */
function copyPage(folder) {
  for (const file of ['index.html', 'style.css']) copyFileSync(join(project, file), join(folder, file));
}

/** @param {string} folder @returns {Promise<Bundled>} */
async function bundleWithVite(folder) {
  const { build, createLogger } = await import('vite');
  /** @type {string[]} */
  const warnings = [];
  const warn = (/** @type {string} */ message) => void warnings.push(message);
  await build({
    root: project,
    configFile: false,
    customLogger: { ...createLogger('silent'), warn, warnOnce: warn },
    build: { outDir: folder, emptyOutDir: false, target: TARGET },
  });
  return { warnings, inputs: [] };
}

/** @param {string} entry @param {string} folder @returns {Promise<Bundled>} */
async function bundleWithWebpack(entry, folder) {
  const { default: webpack } = await import('webpack');
  const compiler = webpack({
    mode: 'production',
    context: project,
    entry: { [nameOf(entry)]: entry },
    output: { path: folder },
    // What it would say: more than 244 KiB.
    performance: { hints: false },
  });
  if (!compiler) throw new Error('webpack made no compiler');
  const stats = await new Promise((resolve, reject) => {
    compiler.run((error, result) => (error ? reject(error) : resolve(result)));
  });
  await new Promise((resolve) => compiler.close(resolve));
  const { errors, warnings, modules } = stats.toJson({
    all: false,
    errors: true,
    warnings: true,
    modules: true,
    nestedModules: true,
    modulesSpace: Number.POSITIVE_INFINITY,
  });
  if (errors.length > 0) throw new Error(messages(errors).join('\n'));
  /** @type {string[]} */
  const inputs = modules.flatMap((/** @type {any} */ module) => [module, ...(module.modules ?? [])]).map(moduleFile);
  return { warnings: messages(warnings), inputs: inputs.filter(Boolean) };
}

/** The file of a webpack module, without what it says about exports. @param {any} module @returns {string} */
function moduleFile({ nameForCondition }) {
  return nameForCondition ?? '';
}

/** @param {{ message: string }[]} list */
function messages(list) {
  return list.map(({ message }) => message);
}

/** @param {string[]} entryPoints @param {string} folder @returns {Promise<Bundled>} */
async function bundleWithEsbuild(entryPoints, folder) {
  const { build, formatMessages } = await import('esbuild');
  const { metafile, warnings } = await build({
    absWorkingDir: project,
    entryPoints,
    outdir: folder,
    bundle: true,
    minify: true,
    format: 'esm',
    target: TARGET,
    metafile: true,
    logLevel: 'silent',
  });
  const inputs = Object.values(metafile.outputs).flatMap(({ inputs: files }) =>
    Object.keys(files).filter((file) => files[file].bytesInOutput > 0),
  );
  return {
    warnings: await formatMessages(warnings, { kind: 'warning' }),
    inputs: inputs.map((file) => join(project, file)),
  };
}

/** @param {string} entry */
function nameOf(entry) {
  return entry.slice(dist.length + 1).replace(/\.js$/, '');
}

const [what, bundler, ...rest] = process.argv.slice(2);
const bundled =
  what === 'page'
    ? await PAGE_BUNDLERS[bundler](rest[0])
    : await PROGRAM_BUNDLERS[bundler](join(dist, `${rest[0]}.js`), rest[1]);
process.stdout.write(JSON.stringify(bundled));
