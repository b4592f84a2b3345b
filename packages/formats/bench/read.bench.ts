/**
 * Reading every tensor of a 2 GB file through the library, against `fs.read` of the same bytes: `read({ into })` and its peer fill
 * a buffer that is there already, `read()` and its peer a new one for each tensor, whose pages the system has to find first.
 * The file is written first and stays in the system's cache: what is measured is what the library adds. `--bytes N` for a smaller
 * one, `--json` prints one JSON object.
 */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BenchResult, bestSecondsInTurn, numberArgument, printBench } from '@halftone/bench';
import type { Checkpoint, TensorEntry } from '@halftone/tensor';
import { writeGguf, writeSafetensors } from '../src/index.js';
import { fileSink, openCheckpointPath } from '../src/node.js';

const TENSORS = 64;
const REPEATS = 5;
const PIECE_BYTES = 64 * 1024 * 1024;
const GOAL = 0.8;
const COLUMNS = 4096;

const rows = Math.ceil(numberArgument('--bytes', 2e9) / TENSORS / COLUMNS / 2);
const tensorBytes = rows * COLUMNS * 2;
const entries = Array.from(
  { length: TENSORS },
  (_, i): TensorEntry => ({ name: `blk.${i}.weight`, dtype: 'bf16', shape: [rows, COLUMNS] }),
);
const noise = Uint8Array.from({ length: tensorBytes }, (_, i) => (i * 131) >> 3);
const folder = await mkdtemp(join(tmpdir(), 'halftone-read-'));
const results: BenchResult[] = [];
try {
  for (const format of ['safetensors', 'gguf'] as const) {
    const path = join(folder, `model.${format}`);
    await write(format, path);
    results.push(...(await measure(format, path)));
    await rm(path);
  }
} finally {
  await rm(folder, { recursive: true });
}
printBench({
  title: `Reading ${TENSORS} tensors of ${(tensorBytes / 1e6).toFixed(1)} MB from a file in the cache`,
  results,
});

async function write(format: 'safetensors' | 'gguf', path: string): Promise<void> {
  const sink = await fileSink(path, { expectedBytes: TENSORS * tensorBytes + 1e6 });
  if (format === 'gguf') await writeGguf(sink, entries, { metadata: [], data: () => noise });
  else await writeSafetensors(sink, entries, { data: () => noise });
}

async function measure(format: string, path: string): Promise<BenchResult[]> {
  const checkpoint = await openCheckpointPath(path);
  const handle = await open(path, 'r');
  const into = new Uint8Array(tensorBytes);
  try {
    const dataStart = (await handle.stat()).size - TENSORS * Math.ceil(tensorBytes / 32) * 32;
    const readRanges = async (buffer: () => Uint8Array) => {
      for (let i = 0; i < TENSORS; i++) await readRange(handle, buffer(), dataStart + i * tensorBytes);
    };
    const seconds = await bestSecondsInTurn(
      [
        () => readAll(checkpoint, into),
        () => readRanges(() => into),
        () => readAll(checkpoint),
        () => readRanges(() => Buffer.allocUnsafeSlow(tensorBytes)),
      ],
      REPEATS,
    );
    const [ours, theirs, oursNew, theirsNew] = seconds as [number, number, number, number];
    return [
      line(`${format}, read({ into })`, ours, 'fs.read into a buffer', theirs),
      line(`${format}, read()`, oursNew, 'fs.read into a new buffer', theirsNew),
    ];
  } finally {
    await handle.close();
    await checkpoint.close();
  }
}

function line(name: string, ours: number, peerName: string, theirs: number): BenchResult {
  const speed = (seconds: number) => (TENSORS * tensorBytes) / 1e9 / seconds;
  return { name, ours: speed(ours), peer: speed(theirs), peerName, unit: 'GB/s', ratio: theirs / ours, goal: GOAL };
}

async function readAll(checkpoint: Checkpoint, into?: Uint8Array): Promise<void> {
  for (const tensor of checkpoint.tensors.values()) await tensor.read(undefined, { into });
}

async function readRange(handle: Awaited<ReturnType<typeof open>>, into: Uint8Array, start: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const length = Math.min(PIECE_BYTES, into.length - done);
    done += (await handle.read(into, done, length, start + done)).bytesRead;
  }
}
