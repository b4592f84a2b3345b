import {
  type Awaitable,
  contiguousData,
  type Edit,
  type EditVector,
  elementCount,
  HalftoneError,
  type Shape,
  type Tensor,
  tensor,
} from '@halftone/tensor';

/** Gives a tensor of the checkpoint by name, or undefined where there is none. */
export type ReadTensor = (name: string) => Awaitable<Tensor<Float32Array> | undefined>;

/** Names of the tensors that an edit reads besides the one it changes. */
export function editOperands(edit: Edit): string[] {
  switch (edit.type) {
    case 'scale':
      return typeof edit.by === 'string' ? [edit.by] : [];
    case 'addProduct':
      return typeof edit.vector === 'string' ? [edit.matrix, edit.vector] : [edit.matrix];
    case 'copy':
      return [edit.from];
    default:
      return [];
  }
}

/**
 * Applies one edit and returns the new tensor, or undefined when the edit removes it. Works in float64 and rounds once; the input
 * is not changed. `target` is undefined for a tensor that does not exist yet.
 *
 * Throws `RANGE` for a tensor that is missing, `SHAPE` for one that does not fit.
 */
export async function applyEdit(
  edit: Edit,
  target: Tensor<Float32Array> | undefined,
  read: ReadTensor,
): Promise<Tensor<Float32Array> | undefined> {
  switch (edit.type) {
    case 'remove':
      return undefined;
    case 'copy': {
      const from = await required(edit.from, edit.tensor, read);
      return tensor(contiguousData(from).slice(), from.shape);
    }
    case 'addProduct':
      return addProduct(edit, target, read);
  }
  const { data, shape } = present(target, edit.tensor);
  switch (edit.type) {
    case 'fill':
      return tensor(new Float32Array(data.length).fill(edit.value), shape);
    case 'center':
      return tensor(center(data, along(shape, edit.axis, edit.tensor)), shape);
    case 'scale': {
      const axis = along(shape, edit.axis, edit.tensor);
      return tensor(scale(data, axis, await vector(edit.by, axis.length, edit.tensor, read)), shape);
    }
  }
}

/**
 * One tensor of the checkpoint after a plan: all edits of that tensor, in order. Reads only what it needs, so a model may be
 * edited tensor by tensor. Undefined when there is no such tensor, before or after.
 */
export async function editedTensor(
  name: string,
  edits: readonly Edit[],
  read: ReadTensor,
): Promise<Tensor<Float32Array> | undefined> {
  let current = await read(name);
  for (const edit of edits) {
    if (edit.tensor === name) current = await applyEdit(edit, current, read);
  }
  return current;
}

async function addProduct(
  edit: Extract<Edit, { type: 'addProduct' }>,
  target: Tensor<Float32Array> | undefined,
  read: ReadTensor,
): Promise<Tensor<Float32Array>> {
  const matrix = present(await required(edit.matrix, edit.tensor, read), edit.matrix);
  if (matrix.shape.length !== 2) throw mismatch(edit.matrix, `has shape [${matrix.shape}]`, 'a matrix');
  const [rows, columns] = matrix.shape;
  const summed = along(matrix.shape, edit.axis, edit.matrix);
  const v = await vector(edit.vector, summed.length, edit.tensor, read);
  const sums = new Float64Array(edit.axis === 1 ? rows : columns);
  if (target !== undefined) {
    const { data } = present(target, edit.tensor);
    if (data.length !== sums.length) throw mismatch(edit.tensor, `has ${data.length} values`, `${sums.length}`);
    sums.set(data);
  }
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      if (edit.axis === 1) sums[row] += matrix.data[at] * v[column];
      else sums[column] += matrix.data[at] * v[row];
    }
  }
  return tensor(Float32Array.from(sums));
}

interface Axis {
  readonly length: number;
  /** Elements from one index to the next. */
  readonly inner: number;
}

function scale(data: Float32Array, { length, inner }: Axis, by: Float32Array | Float64Array): Float32Array {
  const out = new Float32Array(data.length);
  for (let at = 0; at < data.length; ) {
    for (let i = 0; i < length; i++) {
      const factor = by[i];
      for (const end = at + inner; at < end; at++) out[at] = data[at] * factor;
    }
  }
  return out;
}

function center(data: Float32Array, { length, inner }: Axis): Float32Array {
  const out = new Float32Array(data.length);
  for (let block = 0; block < data.length; block += length * inner) {
    for (let offset = block; offset < block + inner; offset++) {
      let sum = 0;
      for (let i = 0; i < length; i++) sum += data[offset + i * inner];
      const mean = sum / length;
      for (let i = 0; i < length; i++) out[offset + i * inner] = data[offset + i * inner] - mean;
    }
  }
  return out;
}

function along(shape: Shape, axis: number, name: string): Axis {
  if (!Number.isInteger(axis) || axis < 0 || axis >= shape.length) {
    throw mismatch(name, `has shape [${shape}]`, `an axis ${axis}`);
  }
  return { length: shape[axis], inner: elementCount(shape.slice(axis + 1)) };
}

async function vector(
  source: EditVector,
  length: number,
  name: string,
  read: ReadTensor,
): Promise<Float32Array | Float64Array> {
  const values = typeof source === 'string' ? contiguousData(await required(source, name, read)) : source;
  if (values.length !== length) {
    throw mismatch(
      typeof source === 'string' ? source : `the vector for ${name}`,
      `has ${values.length} values`,
      `${length}`,
    );
  }
  return values;
}

async function required(name: string, reader: string, read: ReadTensor): Promise<Tensor<Float32Array>> {
  const found = await read(name);
  if (found === undefined) {
    throw new HalftoneError('RANGE', `tensor ${name}, needed to edit ${reader}, is not in the checkpoint`, {
      where: 'applyEdit',
      details: { tensor: name, reader },
    });
  }
  return found;
}

function present(target: Tensor<Float32Array> | undefined, name: string): { data: Float32Array; shape: Shape } {
  if (target === undefined) {
    throw new HalftoneError('RANGE', `tensor ${name} is not in the checkpoint`, {
      where: 'applyEdit',
      details: { tensor: name },
    });
  }
  return { data: contiguousData(target), shape: target.shape };
}

function mismatch(name: string, actual: string, expected: string): HalftoneError {
  return new HalftoneError('SHAPE', `tensor ${name} ${actual}, expected ${expected}`, {
    where: 'applyEdit',
    details: { tensor: name },
  });
}
