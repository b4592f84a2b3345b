/**
 * Loading a 1.1 B-parameter Q4_0 model from a GGUF file: seconds, and the largest resident memory over what the process had
 * before, in file sizes. `read` is the file alone, read into one array; `unpacked` is the same backend without `uploadPacked`,
 * where JavaScript unpacks and packs. Each run is a process of its own; the file is in the system's cache.
 *
 *   pnpm --filter @halftone/transformer bench:load [--runs 3] [--json]
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BenchResult, numberArgument, printBench } from '@halftone/bench';
import { wasmBackend } from '@halftone/kernels-wasm';
import type { KernelBackend } from '@halftone/tensor';
import { createModel } from '../src/index.js';
import { openModel } from '../src/node.js';
import { writeRandomLlama } from './random-llama.js';

const METHODS = ['packed', 'unpacked', 'read'] as const;
type Method = (typeof METHODS)[number];

interface Run {
  readonly seconds: number;
  /** Largest resident bytes over those before. */
  readonly bytes: number;
}

const child = process.argv.indexOf('--child');
if (child < 0) await compare();
else process.stdout.write(JSON.stringify(await run(process.argv[child + 1] as Method, process.argv[child + 2])));

async function compare(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'halftone-load-'));
  const path = join(folder, 'random.gguf');
  try {
    await writeRandomLlama(path);
    const { size } = await stat(path);
    const runs: Record<Method, Run[]> = { packed: [], unpacked: [], read: [] };
    for (let i = numberArgument('--runs', 3); i > 0; i--) {
      for (const method of METHODS) runs[method].push(inProcess(method, path));
    }
    const best = (method: Method) => Math.min(...runs[method].map(({ seconds }) => seconds));
    const most = (method: Method) => Math.max(...runs[method].map(({ bytes }) => bytes)) / size;
    const results = (['read', 'unpacked'] as const).flatMap((peerName): BenchResult[] => [
      result('seconds', 's', best('packed'), best(peerName), peerName),
      result('peak memory', 'file sizes', most('packed'), most(peerName), peerName),
    ]);
    printBench({ title: `Loading a Q4_0 GGUF of ${(size / 2 ** 20).toFixed(0)} MiB`, results });
  } finally {
    await rm(folder, { recursive: true });
  }
}

function result(name: string, unit: string, ours: number, peer: number, peerName: string): BenchResult {
  return { name, unit, ours, peer, peerName, ratio: peer / ours };
}

function inProcess(method: Method, path: string): Run {
  const script = fileURLToPath(import.meta.url);
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [...process.execArgv, script, '--child', method, path],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Run;
}

async function run(method: Method, path: string): Promise<Run> {
  const backend = wasmBackend();
  const before = process.memoryUsage.rss();
  const start = performance.now();
  if (method === 'read') await readWhole(path);
  else await load(path, method === 'packed' ? backend : { ...backend, uploadPacked: undefined });
  const seconds = (performance.now() - start) / 1000;
  await backend.dispose();
  return { seconds, bytes: 1024 * process.resourceUsage().maxRSS - before };
}

async function load(path: string, backend: KernelBackend): Promise<void> {
  const source = await openModel(path);
  await createModel(source, { backend });
  await source.close();
}

async function readWhole(path: string): Promise<void> {
  const handle = await open(path);
  const { size } = await handle.stat();
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) at += (await handle.read(bytes, at, Math.min(size - at, 2 ** 30), at)).bytesRead;
  await handle.close();
}
