/**
 * Quantizes a synthetic 6 GB sharded bf16 llama to Q4_0 in a child process, and measures its peak memory; then kills a second
 * run half-way, resumes it, and compares the bytes. Needs about 12 GB of disk under the system's temporary folder, and cleans up.
 *
 *   pnpm --filter @halftone/compress bench:streaming [--gigabytes 6] [--json]
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { numberArgument, printBench, writeSyntheticLlama } from '@halftone/bench';

const MEMORY_LIMIT = 1_000_000_000;

const gigabytes = numberArgument('--gigabytes', 6);
const folder = await mkdtemp(join(tmpdir(), 'halftone-streaming-'));
try {
  const model = join(folder, 'model');
  const { bytes } = await writeSyntheticLlama(model, gigabytes * 1e9);
  const first = await quantize(model, join(folder, 'first.gguf'));
  const killed = await quantizeAndKill(model, join(folder, 'second.gguf'), first.seconds / 2);
  const resumed = await quantize(model, join(folder, 'second.gguf'));
  const identical = (await sha256(join(folder, 'first.gguf'))) === (await sha256(join(folder, 'second.gguf')));
  printBench({
    title: `halftone quantize of a ${(bytes / 1e9).toFixed(2)} GB bf16 checkpoint to Q4_0`,
    results: [
      {
        name: 'peak resident memory',
        ours: first.peakRssBytes / 1e6,
        peer: MEMORY_LIMIT / 1e6,
        peerName: 'limit',
        unit: 'MB',
        ratio: MEMORY_LIMIT / first.peakRssBytes,
        goal: 1,
      },
      { name: 'input read', ours: bytes / 1e6 / first.seconds, unit: 'MB/s' },
      { name: 'whole run', ours: first.seconds, unit: 's' },
      { name: `run after a kill at ${killed.toFixed(1)} s`, ours: resumed.seconds, unit: 's' },
      { name: 'tensors taken over', ours: resumed.resumed, unit: `of ${resumed.layers.length}` },
      {
        name: 'resumed bytes identical',
        ours: Number(identical),
        peer: 1,
        peerName: 'whole run',
        unit: '',
        ratio: Number(identical),
        goal: 1,
      },
    ],
  });
  if (!identical || first.peakRssBytes > MEMORY_LIMIT || resumed.resumed === 0) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}

interface Report {
  readonly seconds: number;
  readonly peakRssBytes: number;
  readonly resumed: number;
  readonly layers: readonly unknown[];
}

function start(model: string, out: string) {
  const cli = fileURLToPath(new URL('../../cli/dist/main.js', import.meta.url));
  const args = [cli, 'quantize', model, '--recipe', 'Q4_0', '--out', out, '--json', '--quiet'];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function quantize(model: string, out: string): Promise<Report> {
  const child = start(model, out);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`halftone quantize ended with exit code ${code}; run 'pnpm build' first`);
  return JSON.parse(text) as Report;
}

/** Kills the run after so many seconds; returns when it was killed. */
async function quantizeAndKill(model: string, out: string, seconds: number): Promise<number> {
  const child = start(model, out);
  const closed = new Promise((resolve) => child.on('close', resolve));
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  child.kill('SIGKILL');
  await closed;
  if (await stat(out).catch(() => undefined)) throw new Error('the output was there before the run had ended');
  return seconds;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  return hash.digest('hex');
}
