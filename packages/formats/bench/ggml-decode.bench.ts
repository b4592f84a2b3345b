/**
 * Decoding speed of every ggml block type, in MB of blocks and of float32 values a second, against ggml's own decoder in
 * the same run where llama.cpp's libraries are installed. `--json` prints one JSON object.
 */
import { type BenchResult, bestSeconds, printBench } from '@halftone/bench';
import { ggmlDequantize, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { GGML_TYPES, type GgmlType } from '@halftone/tensor';
import { GGML_CODECS } from '../src/ggml/index.js';

const ELEMENTS = 1 << 22;
const REPEATS = 9;

const results = (Object.keys(GGML_CODECS) as GgmlType[]).map((type): BenchResult => {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const bytes = new Uint8Array((ELEMENTS / blockSize) * blockBytes);
  // Any bytes will do but f16 exponents of all ones, which no file has: bytes up to 0x5F keep scales finite.
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 131) & 0x5f;
  const packed = { kind: 'packed', dtype: type, shape: [ELEMENTS / 4096, 4096], bytes } as const;
  const out = new Float32Array(ELEMENTS);
  const speed = (run: () => void) => (ELEMENTS * 4) / 1e6 / bestSeconds(run, REPEATS);
  const ours = speed(() => GGML_CODECS[type].decode(packed, out));
  if (!oracleAvailable()) return { name: type, ours, unit: 'MB/s' };
  const peer = speed(() => ggmlDequantize(type, bytes, ELEMENTS));
  return { name: type, ours, peer, peerName: 'ggml dequantize_row', unit: 'MB/s', ratio: ours / peer };
});

printBench({ title: 'Decoding ggml blocks, MB/s of float32 values, one thread', results });
