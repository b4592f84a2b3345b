import { type Granularity, HalftoneError, type ParameterTensor, type Tensor, toFloat32 } from '@halftone/tensor';

/** Columns that share a parameter. Throws `UNSUPPORTED` unless groups run along the rows of a matrix. */
export function columnsPerGroup(granularity: Granularity, columns: number, scheme: string): number {
  if (granularity.type === 'tensor' || (granularity.type === 'axis' && granularity.axis === 0))
    return Math.max(1, columns);
  if (granularity.type === 'group' && granularity.axis === 1) return granularity.size;
  throw new HalftoneError(
    'UNSUPPORTED',
    `scheme ${scheme} groups weights as ${JSON.stringify(granularity)}; groups must run along axis 1`,
    {
      where: 'expandGrid',
      details: { scheme, granularity },
    },
  );
}

/** One value for each group, `single` ones repeated, `absent` where there is no parameter. */
export function parameterValues(
  parameter: ParameterTensor | undefined,
  single: boolean,
  count: number,
  absent: number,
): Float32Array {
  if (parameter === undefined) return new Float32Array(count).fill(absent);
  const values = toFloat32(parameter as Tensor);
  if (single) return new Float32Array(count).fill(values[0]);
  if (values.length !== count) {
    throw new HalftoneError('SHAPE', `a parameter has ${values.length} entries where the grid has ${count} groups`, {
      where: 'expandGrid',
      details: { entries: values.length, groups: count },
    });
  }
  return values;
}
