import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode } from '@halftone/tensor';

/** Uniform numbers in (0, 1) from a linear congruential generator. */
export function seededUniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

/** Normal weights of standard deviation 0.02; a share of them is five times as large. */
export function normalWeights(count: number, seed: number, outliers = 0): Float32Array {
  const uniform = seededUniform(seed);
  return Float32Array.from({ length: count }, () => {
    const normal = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    return 0.02 * normal * (uniform() < outliers ? 5 : 1);
  });
}

const SHARED = process.env.HALFTONE_SHARED ?? join(import.meta.dirname, '../../../../shared');
const SHARD = join(SHARED, 'models/bookworm-29m/model-00002-of-00004.safetensors');

/** A shard of a real model, where the shared models are present. */
export const BOOKWORM: string | undefined = existsSync(SHARD) ? SHARD : undefined;

/** Up to 24 rows of each matrix in the shard whose rows are whole super-blocks. */
export function bookwormWeights(): { name: string; values: Float32Array; columns: number }[] {
  const file = readFileSync(SHARD);
  const headerLength = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const weights: { name: string; values: Float32Array; columns: number }[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__' || entry.shape.length !== 2 || entry.shape[1] % 256 !== 0) continue;
    const dtype = entry.dtype.toLowerCase() as 'bf16' | 'f16' | 'f32';
    const rows = Math.min(24, entry.shape[0]);
    const columns = entry.shape[1];
    const from = 8 + headerLength + entry.data_offsets[0];
    const bytes = Uint8Array.from(file.subarray(from, from + rows * columns * (dtype === 'f32' ? 4 : 2)));
    weights.push({ name, values: decode({ kind: 'packed', dtype, shape: [rows, columns], bytes }), columns });
  }
  return weights;
}
