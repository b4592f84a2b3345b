/**
 * What rounding activations to 8 bits costs: the relative error (root of the mean square) of all linear layers' products in one
 * forward pass, against float32 weights and activations. `float` rounds the weights alone. Each layer gets the exact input.
 *
 *   node --conditions=halftone-source --import tsx bench/activation-rounding.bench.ts MODEL TEXT [--tokens 256]
 */
import { readFile } from 'node:fs/promises';
import { numberArgument } from '@halftone/bench';
import { wasmBackend } from '@halftone/kernels-wasm';
import {
  type KernelBackend,
  type QuantizedTensor,
  type Tensor,
  toFloat32,
  type UploadedLinear,
} from '@halftone/tensor';
import { createModel, loadTokenizer } from '../src/index.js';
import { openModel } from '../src/node.js';

const WEIGHTS = { W8: [8, undefined], W4g128: [4, 128] } as const;
const ACTIVATIONS = ['float', 'int8', 'int8-row'] as const;
type Variant = `${keyof typeof WEIGHTS} ${(typeof ACTIVATIONS)[number]}`;

const [path, textPath] = process.argv.slice(2);
const source = await openModel(path);
const totals = new Map<Variant, { error: number; signal: number; worst: number }>();
const model = await createModel(source, { backend: comparing() });
if (source.tokenizer === undefined) throw new Error(`${path} has no tokenizer`);
const tokenizer = await loadTokenizer(source.tokenizer);
const tokens = tokenizer.encode(await readFile(textPath, 'utf8')).slice(0, numberArgument('--tokens', 256));
await model.forward(tokens);
for (const [variant, { error, signal, worst }] of totals) {
  console.log(variant.padEnd(16), `${percent(Math.sqrt(error / signal))} of all, ${percent(worst)} in the worst layer`);
}
await model.dispose();
await source.close();

function percent(share: number): string {
  return `${(100 * share).toPrecision(3)}%`;
}

/** Goes on with exact products, and counts the errors of the others on the way. */
function comparing(): KernelBackend {
  const exact = wasmBackend({ activations: 'float' });
  const backends = ACTIVATIONS.map((activations) => ({ activations, backend: wasmBackend({ activations }) }));
  const uploads = new Map<UploadedLinear, { variant: Variant; backend: KernelBackend; weight: UploadedLinear }[]>();
  return {
    ...exact,
    uploadLinear(weight, bias) {
      const uploaded = exact.uploadLinear(weight, bias);
      const variants = Object.entries(WEIGHTS).flatMap(([name, [bits, group]]) => {
        const q = rounded(weight, bits, group ?? weight.shape[1]);
        return backends.map(({ activations, backend }) => {
          const variant = `${name} ${activations}` as Variant;
          return { variant, backend, weight: backend.uploadLinear(q, bias) };
        });
      });
      uploads.set(uploaded, variants);
      return uploaded;
    },
    async linear(uploaded, x, rows, out) {
      await exact.linear(uploaded, x, rows, out);
      const other = new Float32Array(rows * uploaded.outFeatures);
      for (const { variant, backend, weight } of uploads.get(uploaded) ?? []) {
        await backend.linear(weight, x, rows, other);
        add(variant, other, out);
      }
    },
    async dispose() {
      await exact.dispose();
      for (const { backend } of backends) await backend.dispose();
    },
  };
}

function add(variant: Variant, actual: Float32Array, expected: Float32Array): void {
  let error = 0;
  let signal = 0;
  for (let i = 0; i < actual.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    signal += expected[i] ** 2;
  }
  const total = totals.get(variant) ?? { error: 0, signal: 0, worst: 0 };
  totals.set(variant, {
    error: total.error + error,
    signal: total.signal + signal,
    worst: Math.max(total.worst, Math.sqrt(error / signal)),
  });
}

/** Round to nearest, symmetric. */
function rounded(weight: Tensor<Float32Array> | QuantizedTensor, bits: number, size: number): QuantizedTensor {
  const values = toFloat32(weight);
  const [rows, columns] = weight.shape;
  const groups = Math.ceil(columns / size);
  const codes = new Int8Array(values.length);
  const scales = new Float32Array(rows * groups);
  const highest = 2 ** (bits - 1) - 1;
  for (let g = 0; g < scales.length; g++) {
    const start = Math.floor(g / groups) * columns + (g % groups) * size;
    const end = Math.min(start + size, (Math.floor(g / groups) + 1) * columns);
    for (let i = start; i < end; i++) scales[g] = Math.max(scales[g], Math.abs(values[i]) / highest);
    for (let i = start; i < end; i++) codes[i] = scales[g] === 0 ? 0 : Math.round(values[i] / scales[g]);
  }
  const view = <D>(data: D, shape: number[]) => ({ data, shape, stride: [shape[1], 1], offset: 0 });
  return {
    kind: 'quantized',
    shape: weight.shape,
    scheme: {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits, signed: true, symmetric: true },
      granularity: groups === 1 ? { type: 'axis', axis: 0 } : { type: 'group', axis: 1, size },
    },
    parts: { codes: view(codes, [rows, columns]), scales: view(scales, groups === 1 ? [rows, 1] : [rows, groups]) },
  };
}
