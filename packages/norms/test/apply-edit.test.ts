import { applyEdit, editedTensor, editOperands, type ReadTensor } from '@halftone/norms';
import { type Edit, tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';

const matrix = tensor(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
const tensors = new Map([
  ['W', matrix],
  ['by2', tensor(Float32Array.of(10, 100))],
  ['by3', tensor(Float32Array.of(1, 0, -1))],
]);
const read: ReadTensor = (name) => tensors.get(name);
const apply = async (edit: Edit, target = tensors.get(edit.tensor)) => [
  ...((await applyEdit(edit, target, read))?.data ?? []),
];

describe('applyEdit', () => {
  it('scales along either axis, by a tensor or by values', async () => {
    expect(await apply({ type: 'scale', tensor: 'W', axis: 0, by: 'by2' })).toEqual([10, 20, 30, 400, 500, 600]);
    expect(await apply({ type: 'scale', tensor: 'W', axis: 1, by: Float64Array.of(1, 0, -1) })).toEqual([
      1, 0, -3, 4, 0, -6,
    ]);
  });

  it('centres along either axis', async () => {
    expect(await apply({ type: 'center', tensor: 'W', axis: 0 })).toEqual([-1.5, -1.5, -1.5, 1.5, 1.5, 1.5]);
    expect(await apply({ type: 'center', tensor: 'W', axis: 1 })).toEqual([-1, 0, 1, -1, 0, 1]);
  });

  it('adds products to a vector or to nothing', async () => {
    expect(await apply({ type: 'addProduct', tensor: 'by2', matrix: 'W', axis: 1, vector: 'by3' })).toEqual([8, 98]);
    expect(await apply({ type: 'addProduct', tensor: 'new', matrix: 'W', axis: 0, vector: 'by2' })).toEqual([
      410, 520, 630,
    ]);
  });

  it('copies, fills and removes', async () => {
    expect(await applyEdit({ type: 'copy', tensor: 'new', from: 'W' }, undefined, read)).toEqual(matrix);
    expect(await apply({ type: 'fill', tensor: 'by2', value: 3 })).toEqual([3, 3]);
    expect(await applyEdit({ type: 'remove', tensor: 'W' }, matrix, read)).toBeUndefined();
  });

  it('reads strided views', async () => {
    const transposed = { data: matrix.data, shape: [3, 2], stride: [1, 3], offset: 0 };
    expect(await apply({ type: 'scale', tensor: 'W', axis: 1, by: 'by2' }, transposed)).toEqual([
      10, 400, 20, 500, 30, 600,
    ]);
  });

  it('leaves its input alone', async () => {
    await apply({ type: 'scale', tensor: 'W', axis: 0, by: 'by2' });
    expect([...matrix.data]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('names what is missing or does not fit', async () => {
    await expect(apply({ type: 'fill', tensor: 'none', value: 1 })).rejects.toThrow(/tensor none is not/);
    await expect(apply({ type: 'scale', tensor: 'W', axis: 1, by: 'none' })).rejects.toThrow(/none, needed to edit W/);
    await expect(apply({ type: 'scale', tensor: 'W', axis: 1, by: 'by2' })).rejects.toThrow(
      /by2 has 2 values, expected 3/,
    );
    await expect(apply({ type: 'center', tensor: 'W', axis: 2 })).rejects.toThrow(/axis 2/);
    await expect(apply({ type: 'addProduct', tensor: 'by3', matrix: 'W', axis: 1, vector: 'by3' })).rejects.toThrow(
      /expected 2/,
    );
    await expect(apply({ type: 'addProduct', tensor: 'by3', matrix: 'by2', axis: 0, vector: 'by3' })).rejects.toThrow(
      /a matrix/,
    );
  });
});

describe('editedTensor', () => {
  const edits: Edit[] = [
    { type: 'scale', tensor: 'W', axis: 1, by: 'by3' },
    { type: 'fill', tensor: 'by3', value: 1 },
    { type: 'center', tensor: 'W', axis: 1 },
  ];

  it('runs the edits of one tensor in order, with the others as they were', async () => {
    const edited = await editedTensor('W', edits, read);
    expect([...(edited?.data ?? [])].map((v) => +v.toFixed(4))).toEqual([
      1.6667, 0.6667, -2.3333, 4.6667, 0.6667, -5.3333,
    ]);
    expect(await editedTensor('by2', edits, read)).toBe(tensors.get('by2'));
    expect(await editedTensor('none', edits, read)).toBeUndefined();
  });

  it('can be told what an edit will read', () => {
    expect(edits.map(editOperands)).toEqual([['by3'], [], []]);
    expect(editOperands({ type: 'addProduct', tensor: 'b', matrix: 'W', axis: 1, vector: 'v' })).toEqual(['W', 'v']);
    expect(editOperands({ type: 'copy', tensor: 'b', from: 'W' })).toEqual(['W']);
  });
});
