/**
 * Encoding speed, one thread, against ggml_quantize_chunk on the same weights in the same run.
 * Run: pnpm --filter @halftone/quantizers bench [--json]
 * MB/s counts the weights as bf16 (2 bytes each). Both sides read float32; ggml's time includes packing its blocks, ours
 * in the rows `+pack` too.
 */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type BenchResult, printBench } from '@halftone/bench';
import { packGgml } from '@halftone/formats';
import { ORACLE_GGML_TYPES, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { GGML_TYPES, type GgmlType, type QuantizeContext, tensor } from '@halftone/tensor';
import { type GridQuantizer, ggml, mseShrink, rtn } from '../src/index.js';

const ROWS = 256;
const COLUMNS = 4096;
const BYTES = ROWS * COLUMNS * 2;
const GOALS: Partial<Record<string, number>> = { Q4_K: 0.5, IQ4_XS: 0.5 };

const weight = normalWeights(ROWS * COLUMNS);
const importance = Float64Array.from({ length: COLUMNS }, (_, i) => 1 + (i % 17));
const plain: QuantizeContext = { name: 'bench' };
const weighted: QuantizeContext = { name: 'bench', statistics: { tokens: 1, inputSquares: importance } };
const chunk = oracleAvailable() ? quantizeChunk() : undefined;
const blocks = new Uint8Array(ROWS * COLUMNS * 2);
const imatrix = Float32Array.from(importance);

const results: BenchResult[] = [];
for (const type of Object.keys(GGML_TYPES) as GgmlType[]) {
  // These ignore importance.
  const alike = /^(Q8_0|TQ|Q1_0|Q2_0|MXFP4|NVFP4)/.test(type);
  for (const context of alike ? [plain] : [plain, weighted]) {
    const name = context === weighted ? `${type} importance` : type;
    const quantizer = ggml(type);
    // ggml encodes these with importance only.
    const refused = context === plain && /^(IQ2_XX?S|IQ1_S)$/.test(type);
    const peer = refused
      ? undefined
      : chunk && megabytesPerSecond(() => chunk(type, context === weighted ? imatrix : null));
    results.push(result(name, encodeSpeed(quantizer, context), peer, GOALS[name]));
    if (context === plain) {
      const speed = megabytesPerSecond(() => packGgml(quantizer.quantize(tensor(weight, [ROWS, COLUMNS]), context)));
      results.push(result(`${name} +pack`, speed, peer, GOALS[name]));
    }
  }
}
for (const [name, quantizer] of [
  ['rtn int4 g128', rtn()],
  ['rtn int4 g32 full-range', rtn({ granularity: 32, symmetry: 'full-range' })],
  ['rtn int8 row restricted-range', rtn({ bits: 8, granularity: 'row', symmetry: 'restricted-range' })],
  ['rtn int4 g128 mse-shrink norm 2', rtn({ fit: mseShrink({ norm: 2 }) })],
] as const) {
  results.push(result(name, encodeSpeed(quantizer, plain), undefined));
}

printBench({ title: 'Encoding, MB/s of the weights as bf16, one thread', results });

function result(name: string, ours: number, peer: number | undefined, goal?: number): BenchResult {
  if (peer === undefined) return { name, ours, unit: 'MB/s' };
  return { name, ours, peer, peerName: 'ggml_quantize_chunk', unit: 'MB/s', ratio: ours / peer, goal };
}

function encodeSpeed(quantizer: GridQuantizer, context: QuantizeContext): number {
  return megabytesPerSecond(() => quantizer.quantize(tensor(weight, [ROWS, COLUMNS]), context));
}

/** Best of several runs, after one that warms up. */
function megabytesPerSecond(run: () => unknown): number {
  run();
  let best = Infinity;
  const deadline = performance.now() + 600;
  for (let i = 0; i < 2 || (i < 30 && performance.now() < deadline); i++) {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  }
  return BYTES / 1e6 / (best / 1e3);
}

/** The library's own function, called without the checks that the oracle package adds. */
function quantizeChunk(): (type: GgmlType, imatrix: Float32Array | null) => void {
  const require = createRequire(createRequire(import.meta.url).resolve('@halftone/llama-cpp-oracle'));
  const directory = join(dirname(require.resolve('@node-llama-cpp/linux-x64')), '..', 'bins', 'linux-x64');
  const file = readdirSync(directory).find((name) => name.startsWith('libggml-base.so')) as string;
  const call = require('koffi')
    .load(join(directory, file))
    .func('ggml_quantize_chunk', 'size_t', ['int', 'float *', 'void *', 'int64_t', 'int64_t', 'int64_t', 'float *']);
  return (type, importances) => call(ORACLE_GGML_TYPES[type], weight, blocks, 0, ROWS, COLUMNS, importances);
}

/** Box-Muller over a fixed linear congruential generator. */
function normalWeights(count: number): Float32Array {
  let state = 1;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => 0.02 * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
