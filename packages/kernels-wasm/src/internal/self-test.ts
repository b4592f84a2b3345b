import type { QuantizedTensor } from '@halftone/tensor';
import type { Arena } from './arena.js';
import type { CompiledModule } from './compiled-module.js';
import { type HeldWeight, heldBytes, holdPanels } from './held-weight.js';
import { type Job, jobs } from './job.js';
import type { WasmBuild } from './layout.js';
import { products } from './products.js';
import { panelWeight } from './quantized-panels.js';

const OUT = 8;
const IN = 64;
const ROWS = 7;

/**
 * Whether the engine's instructions compute what they should: small products whose every step is exact in float32, with the
 * largest codes and activations. Some engines validate relaxed dot products and compute them wrong.
 */
export function passesSelfTest(build: WasmBuild, module: CompiledModule, arena: Arena, job: Job = jobs(1)): boolean {
  const machine = { build, job, module, threads: () => 1 };
  // Each run of 32 holds a 127, so that rounding to 8 bits has a scale of 1.
  const x = Float32Array.from({ length: ROWS * IN }, (_, i) => (i % 32 === 0 ? 127 : ((i * 89) % 255) - 127));
  return [4, 6, 8].every((bits) => {
    const codes = Int8Array.from({ length: OUT * IN }, (_, i) => ((i * 37 + (i >> 5)) % 2 ** bits) - 2 ** (bits - 1));
    const weight = upload(build, arena, codes, bits);
    if (weight === undefined) return false;
    return (['int8', 'float'] as const).every((activations) =>
      [1, ROWS].every((rows) => {
        const out = new Float32Array(rows * OUT);
        products(machine, activations)(weight, x, rows, out);
        return out.every((value, i) => value === exact(codes, x, i % OUT, Math.floor(i / OUT)));
      }),
    );
  });
}

function upload(build: WasmBuild, arena: Arena, codes: Int8Array, bits: number): HeldWeight | undefined {
  const shape = [OUT, IN] as const;
  const q: QuantizedTensor = {
    kind: 'quantized',
    shape,
    scheme: {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits, signed: true, symmetric: true },
      granularity: { type: 'tensor' },
    },
    parts: { codes: { data: codes, shape, stride: [IN, 1], offset: 0 } },
  };
  const quantized = panelWeight(q, 'int8');
  if (quantized === undefined) return undefined;
  const packing = { shape, depth: IN, byteLength: quantized.byteLength, quantized, pack: quantized.pack };
  const at = arena.allocate(heldBytes(packing));
  if (at === undefined) return undefined;
  packing.pack(arena.bytes, arena.floats, at);
  return holdPanels(build, packing, undefined, arena, at);
}

function exact(codes: Int8Array, x: Float32Array, feature: number, row: number): number {
  let sum = 0;
  for (let i = 0; i < IN; i++) sum += codes[feature * IN + i] * x[row * IN + i];
  return sum;
}
