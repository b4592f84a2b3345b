import { contiguousData, HalftoneError, type QuantizeContext, type Tensor } from '@halftone/tensor';

export interface WeightRows {
  readonly data: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/** The weight as contiguous rows. Throws `SHAPE` unless it is `[out, in]`, `NUMERIC` when a value is not finite. */
export function weightRows(weight: Tensor<Float32Array>, context: QuantizeContext, where: string): WeightRows {
  if (weight.shape.length !== 2) {
    throw new HalftoneError(
      'SHAPE',
      `${context.name}: shape [${weight.shape}] is not [out, in]; reshape it to two axes`,
      {
        where,
        details: { tensor: context.name, shape: weight.shape },
      },
    );
  }
  const [rows, columns] = weight.shape as readonly [number, number];
  const data = contiguousData(weight);
  requireFinite(data, columns, context, where);
  return { data, rows, columns };
}

function requireFinite(data: Float32Array, columns: number, context: QuantizeContext, where: string): void {
  // Finite float32 values cannot overflow a float64 sum; one that is not finite stays visible in it.
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  const even = data.length & ~3;
  for (let i = 0; i < even; i += 4) {
    a += data[i];
    b += data[i + 1];
    c += data[i + 2];
    d += data[i + 3];
  }
  for (let i = even; i < data.length; i++) a += data[i];
  if (Number.isFinite(a + b + c + d)) return;
  const index = data.findIndex((value) => !Number.isFinite(value));
  const row = Math.floor(index / columns);
  const column = index % columns;
  throw new HalftoneError(
    'NUMERIC',
    `${context.name}: the weight at row ${row}, column ${column} is ${data[index]}; repair the checkpoint before quantizing`,
    { where, details: { tensor: context.name, row, column, value: data[index] } },
  );
}

/**
 * `statistics.inputSquares` checked against the columns, or undefined when it is absent.
 * Throws `SHAPE` for a wrong length, `NUMERIC` for a negative or non-finite entry.
 */
export function inputImportance(context: QuantizeContext, columns: number, where: string): Float64Array | undefined {
  const squares = context.statistics?.inputSquares;
  if (squares === undefined) return undefined;
  if (squares.length !== columns) {
    throw new HalftoneError(
      'SHAPE',
      `${context.name}: inputSquares has ${squares.length} entries but the weight has ${columns} columns; use statistics of the same tensor`,
      { where, details: { tensor: context.name, columns, entries: squares.length } },
    );
  }
  for (let i = 0; i < columns; i++) {
    if (!(squares[i] >= 0 && squares[i] < Infinity)) {
      throw new HalftoneError(
        'NUMERIC',
        `${context.name}: inputSquares[${i}] is ${squares[i]}; recollect the statistics from finite activations`,
        { where, details: { tensor: context.name, column: i, value: squares[i] } },
      );
    }
  }
  return squares;
}
