/**
 * Speed on one thread against the plain TypeScript loop and the memory bandwidth of a WebAssembly thread.
 * Run: pnpm --filter @halftone/kernels-wasm bench [--megabytes 320] [--json]
 * Products with one row walk through weights of so many megabytes together, so that they come from memory rather than caches.
 */
import { type BenchResult, bestSeconds, numberArgument, printBench } from '@halftone/bench';
import { type QuantizedTensor, tensor, type UploadedLinear } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { wasmBackend } from '../src/index.js';
import { noise, quantizedNoise } from '../test/noise.js';
import { reader } from './read-bandwidth.js';

const SIZE = 4096;
const BYTES = numberArgument('--megabytes', 320) * 1e6;
const results: BenchResult[] = [];
const builds = (['simd', 'relaxed'] as const).filter(available);

floatProducts();
const bandwidth = await readBandwidth();
for (const build of builds) {
  const backend = wasmBackend({ build });
  oneRow(build, 'f32', () => backend.uploadLinear(tensor(noise(SIZE * SIZE), [SIZE, SIZE])));
  for (const type of ['Q4_0', 'Q4_K', 'Q8_0', 'Q6_K'] as const) {
    const weight = quantizedNoise(GGML_SCHEMES[type], [SIZE, SIZE]);
    oneRow(build, type, () => backend.uploadLinear(weight));
    manyRows(build, type, weight);
  }

  function oneRow(name: string, type: string, upload: () => UploadedLinear): void {
    const weights = [upload()];
    while (weights.length * weights[0].byteLength < BYTES) weights.push(upload());
    const x = noise(SIZE);
    const out = new Float32Array(SIZE);
    const run = () => {
      for (const weight of weights) backend.linear(weight, x, 1, out);
    };
    const speed = (weights.length * weights[0].byteLength) / bestSeconds(run, 7) / 1e9;
    for (const weight of weights) backend.release(weight);
    results.push({
      name: `${name} ${type} ${SIZE}x${SIZE}, 1 row`,
      ours: speed,
      unit: 'GB/s',
      peer: bandwidth,
      peerName: 'read',
      ratio: speed / bandwidth,
    });
  }

  function manyRows(name: string, type: string, q: QuantizedTensor): void {
    const weight = backend.uploadLinear(q);
    for (const rows of [8, 128]) {
      const x = noise(rows * SIZE);
      const out = new Float32Array(rows * SIZE);
      const seconds = bestSeconds(() => backend.linear(weight, x, rows, out), rows === 8 ? 9 : 3);
      results.push({
        name: `${name} ${type} ${SIZE}x${SIZE}, ${rows} rows`,
        ours: (2 * rows * SIZE * SIZE) / seconds / 1e9,
        unit: 'GOP/s',
      });
    }
    backend.release(weight);
  }
}
printBench({ title: 'Matrix products in WebAssembly, one thread', results });

function available(build: 'simd' | 'relaxed'): boolean {
  try {
    wasmBackend({ build }).dispose();
    return true;
  } catch {
    return false;
  }
}

function floatProducts(): void {
  const size = 1024;
  const weight = tensor(noise(size * size), [size, size]);
  const x = noise(size * size);
  const out = new Float32Array(size * size);
  const speed = (run: () => void, rows: number, repeats: number) =>
    (2 * rows * size * size) / bestSeconds(run, repeats) / 1e9;
  const plain = speed(() => plainProduct(weight.data, x, 64, size, out), 64, 3);
  for (const build of builds) {
    const backend = wasmBackend({ build });
    const uploaded = backend.uploadLinear(weight);
    const ours = speed(() => backend.linear(uploaded, x, size, out), size, 15);
    const name = `${build} f32 ${size}x${size}, ${size} rows`;
    results.push({ name, ours, unit: 'GFLOP/s', peer: plain, peerName: 'plain loop', ratio: ours / plain });
  }
}

/** The product as anybody would write it first. */
function plainProduct(weight: Float32Array, x: Float32Array, rows: number, size: number, out: Float32Array): void {
  for (let row = 0; row < rows; row++) {
    for (let o = 0; o < size; o++) {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += x[row * size + i] * weight[o * size + i];
      out[row * size + o] = sum;
    }
  }
}

async function readBandwidth(): Promise<number> {
  const read = await reader(BYTES);
  return BYTES / bestSeconds(read, 7) / 1e9;
}
