/**
 * Decoding speed of every ggml block type, in MB of float32 values a second on one thread. In the same run, in turns: the copying
 * of as many bytes as decoding reads and writes (`memory`), and ggml's own decoder where llama.cpp's libraries are installed.
 * The goal is a third of the speed of memory. `--types Q4_0,Q4_K` measures only those, `--elements` and `--repeats` set the size and the turns, `--json` prints one JSON object.
 */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type BenchResult, bestSecondsInTurn, listArgument, numberArgument, printBench } from '@halftone/bench';
import { oracleAvailable } from '@halftone/llama-cpp-oracle';
import { GGML_TYPES, type GgmlType } from '@halftone/tensor';
import { GGML_CODECS } from '../src/ggml/index.js';

const ELEMENTS = numberArgument('--elements', 1 << 22);
const REPEATS = numberArgument('--repeats', 25);

const values = new Float32Array(ELEMENTS);
const out = new Float32Array(ELEMENTS).fill(1);
const dequantizeRow = oracleAvailable() ? ggmlDecoder() : undefined;
const results: BenchResult[] = [];

for (const type of listArgument('--types', Object.keys(GGML_CODECS)) as GgmlType[]) {
  const bytes = randomBytes(type);
  const copy = new Uint8Array(bytes.length);
  const packed = { kind: 'packed', dtype: type, shape: [ELEMENTS / 4096, 4096], bytes } as const;
  const [ours, memory, ggml] = (
    await bestSecondsInTurn(
      [
        () => void GGML_CODECS[type].decode(packed, out),
        () => {
          out.set(values);
          copy.set(bytes);
        },
        ...(dequantizeRow ? [() => dequantizeRow(type, bytes)] : []),
      ],
      REPEATS,
    )
  ).map((seconds) => (ELEMENTS * 4) / 1e6 / seconds);
  const against = (peerName: string, peer: number, goal?: number): BenchResult => {
    return { name: type, ours, unit: 'MB/s', peer, peerName, ratio: ours / peer, goal };
  };
  results.push(against('memory', memory, 1 / 3));
  if (ggml !== undefined) results.push(against('ggml dequantize_row', ggml));
}

printBench({ title: 'Decoding ggml blocks, MB/s of float32 values, one thread', results });

/** Any bytes will do, but for exponents of MXFP4 whose values are subnormal: no file has them, and processors are slow at them. */
function randomBytes(type: GgmlType): Uint8Array {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  let state = 1;
  return new Uint8Array((ELEMENTS / blockSize) * blockBytes).map((_, i) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return type === 'MXFP4' && i % blockBytes === 0 ? 120 : state >>> 24;
  });
}

/** The library's own function, called without the checks and the allocation that the oracle package adds. */
function ggmlDecoder(): (type: GgmlType, bytes: Uint8Array) => void {
  const require = createRequire(createRequire(import.meta.url).resolve('@halftone/llama-cpp-oracle'));
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
}
