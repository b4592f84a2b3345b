/**
 * `npm run tables [-- NAME...]`: runs the benches whose figures the documentation shows, keeps each as
 * docs/tables/<name>.json with command and date, and writes docs/measurements.md from all of them.
 * Run it on a quiet machine: it takes about an hour. `npm run tables -- --render` only writes the Markdown.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import process from 'node:process';
import { NODE_24 } from './checks/vitest.mjs';
import { execute, root } from './workspace.mjs';

/** @type {Record<string, readonly string[]>} name: arguments of pnpm */
const BENCHES = {
  encode: ['--filter', '@halftone/quantizers', 'bench'],
  decode: ['--filter', '@halftone/formats', 'bench'],
  throughput: ['--filter', '@halftone/compress', 'bench'],
  streaming: ['--filter', '@halftone/compress', 'bench:streaming'],
  open: ['--filter', '@halftone/formats', 'bench:open'],
  read: ['--filter', '@halftone/formats', 'bench:read'],
  kernels: ['--filter', '@halftone/kernels-wasm', 'bench'],
  'kernel-decode': ['--filter', '@halftone/kernels-wasm', 'bench:decode'],
  forward: ['--filter', '@halftone/transformer', 'bench'],
  'end-to-end': ['--filter', '@halftone/transformer', 'bench:end-to-end'],
  activations: ['--filter', '@halftone/transformer', 'bench:activations'],
  memory: ['--filter', '@halftone/transformer', 'bench:memory'],
};

/** These run on Node 24 where it is installed, which has both builds of the WebAssembly kernels. */
const ON_NODE_24 = ['kernels', 'end-to-end', 'activations', 'memory'];

const folder = join(root, 'docs', 'tables');
mkdirSync(folder, { recursive: true });
const names = process.argv.slice(2);
if (!names.includes('--render')) {
  for (const name of names.length > 0 ? names : Object.keys(BENCHES)) await measure(name);
}
writeFileSync(join(root, 'docs', 'measurements.md'), render());

/** @param {string} name */
async function measure(name) {
  const bench = BENCHES[name];
  if (!bench) throw new Error(`No bench is called ${name}. Benches: ${Object.keys(BENCHES).join(', ')}`);
  console.log(`Running ${name}...`);
  const newest = ON_NODE_24.includes(name) && existsSync(NODE_24);
  const env = newest ? { PATH: dirname(NODE_24) + delimiter + process.env.PATH } : {};
  const { code, stdout, output } = await execute('pnpm', ['--silent', ...bench, '--json'], { env });
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  if (code !== 0 || line === undefined) throw new Error(`The bench ${name} failed:\n${output}`);
  const table = {
    command: `pnpm ${bench.join(' ')}`,
    date: new Date().toISOString().slice(0, 10),
    ...JSON.parse(line),
  };
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(table, null, 2)}\n`);
}

function render() {
  const tables = readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => renderTable(JSON.parse(readFileSync(join(folder, file), 'utf8'))));
  return `# Measurements

Written by \`npm run tables\` from the files in [tables](tables); do not edit. Ours and the peer ran in the same run. A ratio is
ours over the peer's, larger is better. Figures of different machines, or of a busy one, do not compare; ratios do, roughly.

${tables.join('\n')}`;
}

/** @param {any} table */
function renderTable({ title, command, date, machine, node, results }) {
  const rows = results.map((/** @type {any} */ result) => {
    const { name, ours, unit, peer, peerName, ratio, goal } = result;
    const other = peer === undefined || peer === null ? '' : `${significant(peer)} (${peerName})`;
    return `| ${[name, `${significant(ours)} ${unit}`.trim(), other, ratio ? significant(ratio) : '', goal ?? ''].join(' | ')} |`;
  });
  return `## ${title}

\`${command}\`, ${date}, ${machine}, Node ${node}

| what | ours | peer | ratio | goal |
|---|---|---|---|---|
${rows.join('\n')}
`;
}

/** @param {number} value */
function significant(value) {
  return String(Number(value.toPrecision(3)));
}
