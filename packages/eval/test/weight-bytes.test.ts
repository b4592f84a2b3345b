import { checkpointBytes, weightBytes } from '@halftone/eval';
import type { LazyTensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';

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
      read: () => Promise.reject(new Error('not read')),
    };
    const account = checkpointBytes({ tensors: new Map([['a', lazy]]), byteLength: 100 });
    expect(account).toMatchObject({ fileBytes: 100, bytes: 30, bitsPerWeight: 16 });
  });
});
