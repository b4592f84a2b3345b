import {
  type Checkpoint,
  encode,
  type LazyQuantizedTensor,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type ReadOptions,
  type Scheme,
  type SplitWeight,
  type Tensor,
  toFloat32,
} from '@halftone/tensor';
import { affineWeight } from './internal/affine-weight.js';
import { refuse } from './internal/refuse.js';
import {
  expectShape,
  findPart,
  inBatches,
  matrixSides,
  moduleName,
  namesBefore,
  needPart,
  storedWeight,
} from './internal/weight-parts.js';

const WHERE = 'bitsandbytes';

/** Codes of 8 bits, the largest magnitude of a row as 127. */
const SCHEME: Scheme = {
  name: 'affine',
  version: 1,
  grid: { type: 'affine', bits: 8, signed: true, symmetric: true },
  granularity: { type: 'axis', axis: 0 },
};

export function hasInt8Weights(checkpoint: Checkpoint): boolean {
  return namesBefore(checkpoint, '.SCB').some((module) => checkpoint.tensors.get(`${module}.weight`)?.dtype === 'i8');
}

/**
 * Weights quantized by LLM.int8(): `w = code * SCB / 127`, with SCB the largest magnitude of each row.
 *
 * SCB is kept as it is, with the division as the tensor's `globalScale`: `scale = fround(SCB / 127)`, `w = fround(code * scale)`.
 * bitsandbytes multiplies in orders that differ from kernel to kernel (`code * SCB * (1 / 127)` when it decodes a whole
 * weight), so its values can differ from these, and from each other, in the last bits of a float32.
 */
export async function int8Weights(checkpoint: Checkpoint, options?: ReadOptions): Promise<LazyQuantizedTensor[]> {
  return inBatches(namesBefore(checkpoint, '.SCB'), async (module) => {
    const name = `${module}.weight`;
    const weight = needPart(checkpoint, name, ['i8'], WHERE);
    const scb = needPart(checkpoint, `${module}.SCB`, ['f32'], WHERE);
    expectShape(scb, WHERE, [matrixSides(weight, WHERE)[0]]);
    const format = findPart(checkpoint, `${module}.weight_format`, ['u8'], WHERE);
    if (format !== undefined) {
      expectShape(format, WHERE, [], [1]);
      const [order] = (await format.read(undefined, options)).bytes;
      if (order !== 0) {
        refuse('UNSUPPORTED', WHERE, name, `weight_format ${order} orders codes for one GPU; only 0 (rows) is read`);
      }
    }
    return storedWeight({
      layout: WHERE,
      name,
      shape: weight.shape,
      scheme: SCHEME,
      parts: { codes: weight, scales: scb },
      settings: format === undefined ? [] : [format],
      decode: ({ codes, scales }): QuantizedTensor => ({
        kind: 'quantized',
        shape: weight.shape,
        scheme: SCHEME,
        parts: { codes: codes as PackedTensor, scales: scales as PackedTensor, globalScale: 1 / 127 },
      }),
    });
  });
}

/** The tensors of an int8 weight. Throws `UNSUPPORTED` where a scale is not a float32 divided by 127. */
export function splitInt8(name: string, weight: QuantizedTensor): SplitWeight {
  const { rows, columns, groups, bits, codes, scales, symmetric } = affineWeight(weight, WHERE);
  if (bits !== 8 || !symmetric || groups !== 1) {
    refuse('UNSUPPORTED', WHERE, name, 'int8 weights have codes of 8 bits, no zeros and one scale for each row');
  }
  const { scales: part, globalScale } = weight.parts;
  // What was read as SCB / 127 goes back as it was.
  const own = globalScale === 1 / 127 && part !== undefined ? toFloat32(part as Tensor) : undefined;
  const maxima = own?.length === rows ? own : scales.map((scale, row) => maximumOf(name, scale, row));
  const signed = Int8Array.from(codes, (code) => code - 128);
  const module = moduleName(name, WHERE);
  return {
    tensors: new Map<string, PackedTensor>([
      [name, packed('i8', [rows, columns], new Uint8Array(signed.buffer))],
      [`${module}.SCB`, encode(maxima, 'f32')],
      [`${module}.weight_format`, packed('u8', [], Uint8Array.of(0))],
    ]),
    settings: { bits: 8 },
  };
}

/** A float32 that divided by 127 gives `scale`: there is one for about 99 of 100 scales. */
function maximumOf(name: string, scale: number, row: number): number {
  const nearest = Math.fround(scale * 127);
  const step = Math.abs(nearest) * 2 ** -23;
  for (const candidate of [nearest, Math.fround(nearest - step), Math.fround(nearest + step)]) {
    if (Object.is(Math.fround(candidate * (1 / 127)), scale)) return candidate;
  }
  return refuse('UNSUPPORTED', WHERE, name, `the scale ${scale} of row ${row} is not a float32 divided by 127`);
}
