/**
 * Runs the TypeScript examples of the documentation against the built packages, as a reader would: type-checked with
 * strict settings, then executed. An example of packages/NAME/README.md runs inside that package's folder, with what that package depends on;
 * those of the root and of docs/ run where every public package is installed. Each ```ts block is a whole
 * program; a fragment is marked ```typescript and only shown.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import ts from 'typescript';
import { execute, readPackages, repositoryFiles, root, tool } from '../workspace.mjs';
import { codeBlocks } from './markdown.mjs';

const TIMEOUT_MS = 120_000;
const work = join(root, 'node_modules', '.cache', 'halftone-examples');

/** @returns {Promise<import('./check.mjs').CheckResult>} */
export async function checkReadmeExamples() {
  const packages = readPackages();
  const folders = [work, ...packages.map((pkg) => join(pkg.path, '.cache', 'examples'))];
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  for (const pkg of packages.filter((candidate) => !candidate.private)) {
    const link = join(work, 'node_modules', pkg.name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(pkg.path, link, 'junction');
  }
  writeFileSync(join(work, 'package.json'), '{ "type": "module" }');
  try {
    return await runExamples();
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  }
}

async function runExamples() {
  /** @type {string[]} */
  const problems = [];
  /** @type {{ origin: string, file: string }[]} */
  const examples = [];
  for (const file of await repositoryFiles()) {
    if (!file.endsWith('.md') || file.startsWith('.changeset/')) continue;
    const home = /^packages\/([^/]+)\//.exec(file)?.[1];
    const blocks = codeBlocks(readFileSync(join(root, file), 'utf8')).filter((block) => block.language === 'ts');
    if (/^packages\/[^/]+\/README\.md$/.test(file) && blocks.length === 0 && home !== 'cli') {
      problems.push(`${file}: no \`\`\`ts example`);
    }
    for (const [i, block] of blocks.entries()) {
      const folder = home ? join(root, 'packages', home, '.cache', 'examples') : work;
      mkdirSync(folder, { recursive: true });
      const source = join(folder, `${file.replace(/[^\w]+/g, '-').toLowerCase()}-${i + 1}.ts`);
      writeFileSync(source, `${block.code}\nexport {};\n`);
      examples.push({ origin: `${file}:${block.line}`, file: source });
    }
  }
  if (examples.length > 0) problems.push(...(await typeProblems(examples)));
  for (const example of examples) {
    const failure = await runProblem(example.file);
    if (failure) problems.push(`${example.origin}: the example failed\n${failure}`);
  }
  return {
    ok: problems.length === 0,
    output: problems.join('\n'),
    passed: problems.length === 0 ? examples.length : 0,
    note: `${examples.length} examples`,
  };
}

/** @param {readonly { origin: string, file: string }[]} examples */
async function typeProblems(examples) {
  const config = join(work, 'tsconfig.json');
  const compilerOptions = {
    target: 'ES2022',
    module: 'NodeNext',
    lib: ['ES2023', 'DOM'],
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules', '@types')],
  };
  writeFileSync(config, JSON.stringify({ compilerOptions, files: examples.map((example) => example.file) }));
  const { code, output } = await tool('typescript/bin/tsc', ['-p', config]);
  if (code === 0) return [];
  return [examples.reduce((text, { origin, file }) => text.replaceAll(file.slice(root.length), origin), output)];
}

/** @param {string} file */
async function runProblem(file) {
  const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
  });
  const script = file.replace(/\.ts$/, '.mjs');
  writeFileSync(script, outputText);
  const cwd = mkdtempSync(join(tmpdir(), 'halftone-example-'));
  try {
    const { code, output } = await execute(process.execPath, [script], { cwd, timeout: TIMEOUT_MS });
    return code === 0 ? '' : output;
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}
