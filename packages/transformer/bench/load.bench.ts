/**
 * Loading a model of 1.1 B parameters from a GGUF file, in Q4_0 with a head in Q6_K: seconds, and the largest resident memory
 * over what the process had with the header read, in file sizes. `read` is the file alone, read into one array; `unpacked` is the same backend without `uploadPacked`,
 * where JavaScript unpacks and packs. Each run is a process of its own; the file is in the system's cache.
 *
 *   pnpm --filter @halftone/transformer bench:load [--runs 3] [--json]
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BenchResult, numberArgument, printBench, randomLlamaGguf } from '@halftone/bench';
import { wasmBackend } from '@halftone/kernels-wasm';
import { createModel } from '../src/index.js';
import { openModel } from '../src/node.js';

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
  try {
    const { path, bytes: size } = await randomLlamaGguf(join(folder, 'random.gguf'));
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
    printBench({
      title: `Loading a GGUF of 1.1 B parameters, Q4_0 and Q6_K, ${(size / 2 ** 20).toFixed(0)} MiB`,
      results,
    });
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
  const source = await openModel(path);
  const before = process.memoryUsage.rss();
  const start = performance.now();
  if (method === 'read') await readWhole(path);
  else await createModel(source, { backend: method === 'packed' ? backend : { ...backend, uploadPacked: undefined } });
  const seconds = (performance.now() - start) / 1000;
  await source.close();
  await backend.dispose();
  return { seconds, bytes: 1024 * process.resourceUsage().maxRSS - before };
}

async function readWhole(path: string): Promise<void> {
  const handle = await open(path);
  const { size } = await handle.stat();
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) at += (await handle.read(bytes, at, Math.min(size - at, 2 ** 30), at)).bytesRead;
  await handle.close();
}
