/**
 * Decoding ggml blocks in WebAssembly, in MB of float32 values a second: from and to arrays of the JavaScript heap, and with both in
 * kernel memory on one thread and on two. In the same run, in turns: TypeScript, ggml's own decoder where llama.cpp's libraries
 * are installed, and the copying of as many bytes as decoding reads and writes (`memory`). The goal is a third of its speed.
 * Run: pnpm --filter @halftone/kernels-wasm bench:decode [--types Q4_0,Q4_K] [--elements 67108864] [--repeats 10] [--json]
 */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type BenchResult, bestSecondsInTurn, listArgument, numberArgument, printBench } from '@halftone/bench';
import { GGML_CODECS } from '@halftone/formats';
import { GGML_TYPES, type GgmlType } from '@halftone/tensor';
import { ggmlDecoder, wasmRuntime } from '../src/index.js';

const ELEMENTS = numberArgument('--elements', 2 ** 26);
const REPEATS = numberArgument('--repeats', 10);

const values = new Float32Array(ELEMENTS);
const out = new Float32Array(ELEMENTS).fill(1);
const runtimes = [1, 2].map((threads) => wasmRuntime({ threads }));
const decoders = runtimes.map(ggmlDecoder);
const outs = runtimes.map((runtime) => runtime.allocate(ELEMENTS).fill(1));
const dequantizeRow = ggmlLibrary();
const results: BenchResult[] = [];

for (const type of listArgument('--types', Object.keys(GGML_TYPES).filter(decoders[0].supports)) as GgmlType[]) {
  const bytes = randomBytes(type);
  const copy = new Uint8Array(bytes.length);
  const packed = { kind: 'packed', dtype: type, shape: [ELEMENTS / 4096, 4096], bytes } as const;
  const resident = runtimes.map((runtime) => {
    const memory = runtime.allocate(bytes.length / 4 + 1);
    const placed = new Uint8Array(memory.buffer, memory.byteOffset, bytes.length);
    placed.set(bytes);
    return { memory, placed };
  });
  const [memory, typescript, heap, one, two, ggml] = (
    await bestSecondsInTurn(
      [
        () => {
          out.set(values);
          copy.set(bytes);
        },
        () => void GGML_CODECS[type].decode(packed, out),
        () => void decoders[0].decode(type, bytes, out),
        () => void decoders[0].decode(type, resident[0].placed, outs[0]),
        () => void decoders[1].decode(type, resident[1].placed, outs[1]),
        ...(dequantizeRow ? [() => dequantizeRow(type, bytes)] : []),
      ],
      REPEATS,
    )
  ).map((seconds) => (ELEMENTS * 4) / 1e6 / seconds);
  for (const [i, { memory }] of resident.entries()) runtimes[i].free(memory);
  const against = (what: string, ours: number, peerName: string, peer: number, goal?: number) => {
    results.push({ name: `${type}, ${what}`, ours, unit: 'MB/s', peer, peerName, ratio: ours / peer, goal });
  };
  against('heap', heap, 'memory', memory, 1 / 3);
  against('kernel memory', one, 'memory', memory, 1 / 3);
  against('kernel memory, 2 threads', two, 'memory', memory, 1 / 3);
  against('heap', heap, 'TypeScript', typescript);
  if (ggml !== undefined) against('heap', heap, 'ggml dequantize_row', ggml);
}
printBench({ title: `Decoding ggml blocks in WebAssembly, ${runtimes[0].build}, MB/s of float32 values`, results });
await Promise.all(runtimes.map((runtime) => runtime.dispose()));

/** Any bytes will do, but for exponents of MXFP4 whose values are subnormal: no file has them, and processors are slow at them. */
function randomBytes(type: GgmlType): Uint8Array {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const bytes = new Uint8Array((ELEMENTS / blockSize) * blockBytes);
  let state = 1;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = type === 'MXFP4' && i % blockBytes === 0 ? 120 : state >>> 24;
  }
  return bytes;
}

/** The library's own functions, called without the checks and the allocation that the oracle package adds. */
function ggmlLibrary(): ((type: GgmlType, bytes: Uint8Array) => void) | undefined {
  try {
    const require = createRequire(new URL('../../llama-cpp-oracle/package.json', import.meta.url));
    const directory = join(dirname(require.resolve('@node-llama-cpp/linux-x64')), '..', 'bins', 'linux-x64');
    const file = readdirSync(directory).find((name) => name.startsWith('libggml-base.so')) as string;
    const library = require('koffi').load(join(directory, file));
    const calls = new Map(
      Object.keys(GGML_TYPES).map((type) => {
        const name = `dequantize_row_${type.toLowerCase().replace('_k', '_K')}`;
        return [type, library.func(name, 'void', ['void *', 'float *', 'int64_t'])];
      }),
    );
    return (type, bytes) => calls.get(type)(bytes, out, ELEMENTS);
  } catch {
    return undefined;
  }
}
