import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpointPath } from '@halftone/formats/node';
import { decode, type PackedTensor } from '@halftone/tensor';
import { expect, it } from 'vitest';
import { writeSyntheticLlama } from '../src/index.js';

it('writes a checkpoint of finite weights that opens', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'halftone-bench-'));
  const { layers, bytes } = await writeSyntheticLlama(join(folder, 'model'), 1);
  const checkpoint = await openCheckpointPath(join(folder, 'model'));
  expect(layers).toBe(1);
  expect([...checkpoint.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBe(bytes);
  const rows = await checkpoint.tensors.get('model.layers.0.mlp.down_proj.weight')?.read({ start: 7, end: 8 });
  const values = decode(rows as PackedTensor<'bf16'>);
  expect(values.every((value) => Math.abs(value) >= 2 ** -8 && Math.abs(value) < 2 ** -4)).toBe(true);
  expect(values.some((value) => value < 0)).toBe(true);
  await checkpoint.close();
  await rm(folder, { recursive: true });
});
