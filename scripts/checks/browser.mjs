/**
 * The packages work in browsers: bundles the page of packages/browser-tests with Vite, webpack and esbuild, opens each bundle
 * in headless Chromium under several sets of headers, and holds the text that it generates from `wren`, on the page's thread
 * and in a worker, against what Node generates. Also looks at what bundles of very small programs carry.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';
import { findChromium } from '../browser/chromium.mjs';
import { serve } from '../browser/serve.mjs';
import { visit } from '../browser/visit.mjs';
import { execute, root } from '../workspace.mjs';

const PROMPT = 'The old house stood at the end of the lane, and';
const MAX_TOKENS = 24;
const THREADS = 2;
const BUNDLE_MILLISECONDS = 60_000;
const STEP_MILLISECONDS = 20_000;

const MODEL_FOLDER = join(root, 'packages', 'wren', 'model');
const PAGE_BUNDLERS = ['vite', 'webpack', 'esbuild'];
const PROGRAM_BUNDLERS = ['webpack', 'esbuild'];

const ISOLATING = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
const STRICT = "default-src 'none'; style-src 'self'; connect-src 'self'; script-src 'self' 'wasm-unsafe-eval'";

/** @type {readonly { name: string, headers: Record<string, string>, isolated: boolean, blobWorkers: boolean }[]} */
const VARIANTS = [
  { name: 'plain', headers: {}, isolated: false, blobWorkers: true },
  { name: 'isolated', headers: ISOLATING, isolated: true, blobWorkers: true },
  {
    name: 'strict CSP with blob workers',
    headers: { ...ISOLATING, 'content-security-policy': `${STRICT}; worker-src 'self' blob:` },
    isolated: true,
    blobWorkers: true,
  },
  {
    name: 'strict CSP without blob workers',
    headers: { ...ISOLATING, 'content-security-policy': `${STRICT}; worker-src 'self'` },
    isolated: true,
    blobWorkers: false,
  },
];

/** A model may have these files; asking for them is the only way to know, and Chromium reports each 404. So for the icon. */
const OPTIONAL_FILES = [
  'model/model.safetensors.index.json',
  'model/generation_config.json',
  'model/tokenizer_config.json',
  'model/chat_template.jinja',
  'favicon.ico',
];

/** @returns {Promise<import('./check.mjs').CheckResult>} */
export async function checkBrowser() {
  const { path: executablePath, tried } = await findChromium();
  if (!executablePath) {
    const why = tried ? `, apt-get gave none: ${tried.trim().split('\n').at(-1)}` : '';
    return { ok: true, skipped: `no Chromium found${why}; install chromium or set CHROMIUM_PATH` };
  }
  const folder = mkdtempSync(join(tmpdir(), 'halftone-browser-'));
  try {
    const [pages, programs, expected] = await Promise.all([bundlePages(folder), bundlePrograms(folder), textOfNode()]);
    /** @type {string[]} */
    const problems = [...pages.problems, ...programs.problems];
    const browser = await chromium.launch({
      executablePath,
      args: ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
    });
    let opened = 0;
    try {
      for (const page of pages.folders) {
        for (const variant of VARIANTS) {
          const found = await problemsOf(browser, page.folder, variant, expected);
          problems.push(...found.problems.map((problem) => `${page.bundler}, ${variant.name}: ${problem}`));
          opened++;
          // The other variants would most likely wait as long.
          if (found.stuck) break;
        }
      }
    } finally {
      await browser.close();
    }
    const note = `Chromium ${browser.version().split('.')[0]}, ${opened} pages; ${programs.note}`;
    return { ok: problems.length === 0, output: problems.join('\n'), note };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {import('playwright-core').Browser} browser
 * @param {string} folder
 * @param {(typeof VARIANTS)[number]} variant
 * @param {string} expected
 */
async function problemsOf(browser, folder, variant, expected) {
  const server = await serve({ '/': folder, '/model/': MODEL_FOLDER }, variant.headers);
  try {
    const optional = OPTIONAL_FILES.map((file) => server.url + file);
    const seen = await visit(browser, {
      url: server.url,
      prompt: PROMPT,
      maxTokens: MAX_TOKENS,
      threads: THREADS,
      timeout: STEP_MILLISECONDS,
      isExpected: (message) => message.text().includes(' 404 ') && optional.includes(message.location().url),
    });
    const problems = [...seen.errors];
    if (seen.isolated !== variant.isolated) problems.push(`crossOriginIsolated is ${seen.isolated}`);
    if (seen.refusals > 0 && variant.blobWorkers) problems.push('a worker was refused that the policy allows');
    const wanted = variant.isolated && seen.refusals === 0 ? THREADS : 1;
    for (const { place, message, text, backend, threads, notes } of seen.runs) {
      if (message) {
        problems.push(`${place}: ${message}`);
        continue;
      }
      if (text !== expected)
        problems.push(`${place}: generates ${JSON.stringify(text)}, Node ${JSON.stringify(expected)}`);
      if (!backend.startsWith('wasm-')) problems.push(`${place}: runs on the backend ${backend}`);
      if (threads !== wanted) problems.push(`${place}: ${threads} threads instead of ${wanted} (${notes})`);
      if (threads < THREADS && notes === '') problems.push(`${place}: does not say why there is one thread`);
    }
    return { problems, stuck: seen.stuck };
  } finally {
    await server.close();
  }
}

/** What the same work gives here. The packages are loaded as they were built, like those in the bundles. */
async function textOfNode() {
  /** @param {readonly string[]} path */
  const load = (...path) => import(pathToFileURL(join(root, 'packages', ...path)).href);
  const { openModel } = await load('transformer', 'dist', 'node.js');
  const { continuePrompt } = await load('browser-tests', 'dist', 'index.js');
  const source = await openModel(MODEL_FOLDER);
  try {
    const { text } = await continuePrompt(
      source,
      { prompt: PROMPT, maxTokens: MAX_TOKENS, threads: 1 },
      () => undefined,
    );
    return text;
  } finally {
    await source.close();
  }
}

/** @param {string} parent */
async function bundlePages(parent) {
  /** @type {string[]} */
  const problems = [];
  const folders = [];
  for (const bundler of PAGE_BUNDLERS) {
    const folder = join(parent, bundler);
    mkdirSync(folder);
    const bundled = await bundle(['page', bundler, folder]);
    problems.push(...bundled.problems);
    if (bundled.problems.length === 0) folders.push({ bundler, folder });
  }
  return { folders, problems };
}

/**
 * A program with one function of kernels-wasm carries no other package but tensor, and one with a constant no kernels.
 * @param {string} parent
 */
async function bundlePrograms(parent) {
  /** @type {string[]} */
  const problems = [];
  /** @type {string[]} */
  const sizes = [];
  for (const bundler of PROGRAM_BUNDLERS) {
    const folder = join(parent, `${bundler}-programs`);
    const backend = await bundle(['program', bundler, 'only-wasm-backend', folder]);
    const defaults = await bundle(['program', bundler, 'only-defaults', folder]);
    problems.push(...backend.problems, ...defaults.problems);
    if (problems.length > 0) continue;
    const packages = new Set(backend.inputs.map((file) => relative(root, file).split(/[\\/]/, 2).join('/')));
    for (const name of packages) {
      if (!['packages/kernels-wasm', 'packages/tensor', 'packages/browser-tests'].includes(name))
        problems.push(`${bundler}: a bundle of wasmBackend alone carries ${name}`);
    }
    const carried = readFileSync(join(folder, 'only-defaults.js'));
    if (carried.length > 1000)
      problems.push(`${bundler}: a bundle of one constant of kernels-wasm has ${carried.length} bytes`);
    const program = readFileSync(join(folder, 'only-wasm-backend.js'));
    sizes.push(`${kilobytes(program.length)} (${kilobytes(gzipSync(program).length)} gzipped) with ${bundler}`);
  }
  return { problems, note: `wasmBackend alone ${sizes.join(', ')}` };
}

/** @param {readonly string[]} args @returns {Promise<{ inputs: string[], problems: string[] }>} */
async function bundle(args) {
  const script = join(root, 'scripts', 'browser', 'bundle.mjs');
  const { code, stdout, output } = await execute(process.execPath, [script, ...args], { timeout: BUNDLE_MILLISECONDS });
  const title = `bundle of ${args[1]}: `;
  if (code !== 0) return { inputs: [], problems: [title + (output || `no answer in ${BUNDLE_MILLISECONDS} ms`)] };
  const { inputs, warnings } = JSON.parse(stdout.slice(stdout.lastIndexOf('\n') + 1));
  return { inputs, problems: warnings.map((/** @type {string} */ warning) => title + warning) };
}

/** @param {number} bytes */
function kilobytes(bytes) {
  return `${Math.round(bytes / 1000)} kB`;
}
