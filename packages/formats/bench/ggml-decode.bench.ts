/**
 * Decoding speed of every ggml block type, in MB of blocks and of float32 values a second, against ggml's own decoder in
 * the same run where llama.cpp's libraries are installed. `--json` prints one JSON object.
 */
import { cpus } from 'node:os';
import { ggmlDequantize, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { GGML_TYPES, type GgmlType } from '@halftone/tensor';
import { GGML_CODECS } from '../src/ggml/index.js';

const ELEMENTS = 1 << 22;
const REPEATS = 9;

/** Best of several runs, in seconds. */
function seconds(run: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < REPEATS; i++) {
    const start = performance.now();
    run();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
}

const results = (Object.keys(GGML_CODECS) as GgmlType[]).map((type) => {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const bytes = new Uint8Array((ELEMENTS / blockSize) * blockBytes);
  // Any bytes will do but f16 exponents of all ones, which no file has: bytes up to 0x5F keep scales finite.
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 131) & 0x5f;
  const packed = { kind: 'packed', dtype: type, shape: [ELEMENTS / 4096, 4096], bytes } as const;
  const out = new Float32Array(ELEMENTS);
  const ours = (ELEMENTS * 4) / 1e6 / seconds(() => GGML_CODECS[type].decode(packed, out));
  const peer = oracleAvailable()
    ? (ELEMENTS * 4) / 1e6 / seconds(() => ggmlDequantize(type, bytes, ELEMENTS))
    : undefined;
  return {
    name: `decode ${type}`,
    ours: Math.round(ours),
    peer: peer === undefined ? undefined : Math.round(peer),
    peerName: 'ggml dequantize_row, one thread',
    unit: 'MB of float32 a second',
    ratio: peer === undefined ? undefined : Number((ours / peer).toFixed(2)),
    blocksPerSecond: Math.round((ours * 1e6) / 4 / blockSize),
  };
});

if (process.argv.includes('--json')) {
  console.log(JSON.stringify({ machine: cpus()[0]?.model, node: process.version, results }));
} else {
  console.table(
    Object.fromEntries(
      results.map(({ name, ours, peer, ratio }) => [name, { 'ours MB/s': ours, 'ggml MB/s': peer, ratio }]),
    ),
  );
}
