/**
 * Quantizes a synthetic 6 GB sharded bf16 llama to Q4_0 in a child process, and measures its peak memory; then kills a second
 * run half-way, resumes it, and compares the bytes. Needs about 12 GB of disk under the system's temporary folder, and cleans up.
 *
 *   pnpm --filter @halftone/compress bench:streaming [--gigabytes 6] [--json]
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeSafetensorsShards } from '@halftone/formats';
import { fileSink } from '@halftone/formats/node';
import type { TensorEntry } from '@halftone/tensor';
import { modelUrl } from '@halftone/wren-5m';
import { machineName, numberArgument, printBench } from './bench-output.js';

const HIDDEN = 2048;
const FEED_FORWARD = 5632;
const MEMORY_LIMIT = 1_000_000_000;

const gigabytes = numberArgument('--gigabytes', 6);
const folder = await mkdtemp(join(tmpdir(), 'halftone-streaming-'));
try {
  const model = join(folder, 'model');
  const bytes = await writeSyntheticModel(model);
  const first = await quantize(model, join(folder, 'first.gguf'));
  const killed = await quantizeAndKill(model, join(folder, 'second.gguf'), first.seconds / 2);
  const resumed = await quantize(model, join(folder, 'second.gguf'));
  const identical = (await sha256(join(folder, 'first.gguf'))) === (await sha256(join(folder, 'second.gguf')));
  printBench({
    title: `halftone quantize of a ${(bytes / 1e9).toFixed(2)} GB bf16 checkpoint to Q4_0`,
    machine: machineName(),
    node: process.version,
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

async function writeSyntheticModel(path: string): Promise<number> {
  await mkdir(path);
  const config = JSON.parse(await readFile(new URL('config.json', modelUrl), 'utf8')) as Record<string, unknown>;
  const perBlock = 2 * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * FEED_FORWARD);
  const layers = Math.max(1, Math.round((gigabytes * 1e9 - 2 * 8192 * HIDDEN) / perBlock));
  Object.assign(config, {
    hidden_size: HIDDEN,
    intermediate_size: FEED_FORWARD,
    num_hidden_layers: layers,
    num_attention_heads: HIDDEN / 64,
    num_key_value_heads: HIDDEN / 64,
  });
  await writeFile(join(path, 'config.json'), JSON.stringify(config));
  await writeFile(join(path, 'tokenizer.json'), await readFile(new URL('tokenizer.json', modelUrl)));
  const entries = llamaEntries(layers);
  const noise = bfloat16Noise(32 * 2 ** 20);
  await writeSafetensorsShards(entries, {
    maxShardBytes: 1e9,
    createSink: (name: string, expectedBytes: number) => fileSink(join(path, name), { expectedBytes }),
    data: ({ byteLength }) => pieces(noise, byteLength),
  });
  return entries.reduce((sum, { shape }) => sum + 2 * shape.reduce((a, b) => a * b, 1), 0);
}

function llamaEntries(layers: number): TensorEntry[] {
  const entry = (name: string, ...shape: number[]): TensorEntry => ({ name, dtype: 'bf16', shape });
  const entries = [entry('model.embed_tokens.weight', 8192, HIDDEN)];
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`;
    entries.push(
      entry(`${at}.input_layernorm.weight`, HIDDEN),
      ...['q', 'k', 'v', 'o'].map((name) => entry(`${at}.self_attn.${name}_proj.weight`, HIDDEN, HIDDEN)),
      entry(`${at}.post_attention_layernorm.weight`, HIDDEN),
      entry(`${at}.mlp.gate_proj.weight`, FEED_FORWARD, HIDDEN),
      entry(`${at}.mlp.up_proj.weight`, FEED_FORWARD, HIDDEN),
      entry(`${at}.mlp.down_proj.weight`, HIDDEN, FEED_FORWARD),
    );
  }
  return [...entries, entry('model.norm.weight', HIDDEN)];
}

/** Random bf16 values of magnitude 2^-8 to 2^-4. */
function bfloat16Noise(byteLength: number): Uint8Array {
  const words = new Uint16Array(byteLength / 2);
  let state = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = ((state >>> 16) & 0x8000) | (0x3b80 + ((state >>> 8) & 0x01ff));
  }
  return new Uint8Array(words.buffer);
}

function* pieces(noise: Uint8Array, byteLength: number): Generator<Uint8Array> {
  for (let left = byteLength; left > 0; left -= noise.length) yield noise.subarray(0, Math.min(left, noise.length));
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
