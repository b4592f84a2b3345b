import { checkpointBytes, weightBytes } from '@halftone/eval';
import { arrayBufferSource, memorySink, safetensors, writeSafetensors } from '@halftone/formats';
import { gptq, withLayouts } from '@halftone/formats/layouts';
import type { Granularity, Grid, LazyQuantizedTensor, LazyTensor, StorageType } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';

const notRead = () => Promise.reject(new Error('not read'));

function quantized(layout: string, grid: Grid, granularity: Granularity): LazyQuantizedTensor {
  return {
    kind: 'lazy-quantized',
    name: `${layout} weight`,
    shape: [8, 64],
    scheme: { name: 'test', version: 1, grid, granularity },
    layout,
    stored: [],
    byteLength: 320,
    read: notRead,
  };
}

/** The one storage type of an account. */
function label(grid: Grid, granularity: Granularity): string[] {
  const weight = quantized('x', grid, granularity);
  return Object.keys(
    checkpointBytes({ tensors: new Map(), quantized: new Map([['w', weight]]), byteLength: 0 }).byType,
  );
}

describe('weightBytes', () => {
  it('counts block types with their scales', () => {
    const account = weightBytes([
      { name: 'a', dtype: 'Q4_0', shape: [2, 64] },
      { name: 'b', dtype: 'f32', shape: [32] },
    ]);
    expect(account.tensors.map(({ bitsPerWeight }) => bitsPerWeight)).toEqual([4.5, 32]);
    expect(account).toMatchObject({ elements: 160, bytes: 72 + 128, bitsPerWeight: 10 });
    expect(account.byType).toEqual({
      Q4_0: { tensors: 1, elements: 128, bytes: 72 },
      f32: { tensors: 1, elements: 32, bytes: 128 },
    });
  });

  it('takes the stored size where it is given', () => {
    expect(weightBytes([{ name: 'a', dtype: 'u8', shape: [4], byteLength: 6 }]).bitsPerWeight).toBe(12);
  });

  it('keeps file bytes apart from tensor bytes', () => {
    const lazy: LazyTensor = {
      kind: 'lazy',
      name: 'a',
      dtype: 'bf16',
      shape: [3, 5],
      byteLength: 30,
      read: notRead,
    };
    const account = checkpointBytes({ tensors: new Map([['a', lazy]]), byteLength: 100 });
    expect(account).toMatchObject({ fileBytes: 100, bytes: 30, bitsPerWeight: 16 });
  });

  it('counts a weight of a layout once, with all its tensors, and calls it after what it is', async () => {
    const [rows, columns] = [16, 64];
    const tensors: Record<string, [StorageType, number[]]> = {
      'a.qweight': ['i32', [columns / 8, rows]],
      'a.qzeros': ['i32', [columns / 32, rows / 8]],
      'a.scales': ['f16', [columns / 32, rows]],
      'a.g_idx': ['i32', [columns]],
      norm: ['f32', [columns]],
    };
    const sink = memorySink();
    const entries = Object.entries(tensors).map(([name, [dtype, shape]]) => ({ name, dtype, shape }));
    await writeSafetensors(sink, entries, { data: ({ byteLength }) => new Uint8Array(byteLength) });
    const bytes = sink.bytes();
    const config = { quantization_config: { quant_method: 'gptq', bits: 4, group_size: 32 } };
    const opened = await safetensors.open(arrayBufferSource(bytes.slice().buffer));
    const account = checkpointBytes(await withLayouts(opened, { layouts: [gptq()], config }));
    const weightSize = 512 + 16 + 64 + 256;
    expect(account.tensors).toEqual([
      { name: 'norm', dtype: 'f32', elements: 64, bytes: 256, bitsPerWeight: 32 },
      { name: 'a.weight', dtype: 'gptq int4 g32', elements: 1024, bytes: weightSize, bitsPerWeight: weightSize / 128 },
    ]);
    expect(account).toMatchObject({ elements: 1088, bytes: weightSize + 256, fileBytes: bytes.length });
    expect(account.bitsPerWeight).toBe((8 * (weightSize + 256)) / 1088);
    expect(account.byType['gptq int4 g32']).toEqual({ tensors: 1, elements: 1024, bytes: weightSize });
  });

  it('adds weights of one kind up', () => {
    const affine = { type: 'affine', bits: 4, signed: false, symmetric: false } as const;
    const weight = quantized('awq', affine, { type: 'group', axis: 1, size: 64 });
    const account = checkpointBytes({
      tensors: new Map(),
      quantized: new Map([
        ['a', { ...weight, name: 'a' }],
        ['b', { ...weight, name: 'b' }],
      ]),
      byteLength: 700,
    });
    expect(account.byType).toEqual({ 'awq int4 g64': { tensors: 2, elements: 1024, bytes: 640 } });
    expect(account).toMatchObject({ bitsPerWeight: 5, fileBytes: 700 });
  });

  it('names grids and groups', () => {
    const int8 = { type: 'affine', bits: 8, signed: true, symmetric: true } as const;
    const e4m3 = { type: 'float', exponent: 4, mantissa: 3, bias: 7 } as const;
    const table = { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 } as const;
    expect(label(int8, { type: 'axis', axis: 0 })).toEqual(['x int8 a row']);
    expect(label(int8, { type: 'axis', axis: 1 })).toEqual(['x int8 a column']);
    expect(label(e4m3, { type: 'tensor' })).toEqual(['x e4m3']);
    expect(label(e4m3, { type: 'block', rows: 128, columns: 128 })).toEqual(['x e4m3 128x128']);
    expect(label(table, { type: 'group', axis: 1, size: 64 })).toEqual(['x lookup4 g64']);
    expect(label({ ...table, bits: 16, vectorLength: 8 }, { type: 'axis', axis: 0 })).toEqual(['x lookup16x8 a row']);
  });
});
