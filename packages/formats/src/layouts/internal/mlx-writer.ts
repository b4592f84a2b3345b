import { encode, type PackedTensor, packCodes, packed, type QuantizedTensor, type SplitWeight } from '@halftone/tensor';
import { type AffineWeight, affineWeight, refuseSideParts } from './affine-weight.js';
import { exactScaleCodes, packFloatCodes } from './float-groups.js';
import { MLX_BITS, MLX_GROUP_SIZES, MLX_MODES, type MlxMode } from './mlx-settings.js';
import { refuse } from './refuse.js';
import { sharedFloatType } from './shared-float-type.js';
import { moduleName } from './weight-parts.js';

const WHERE = 'mlx';

/** The tensors of a weight, and its entry in `config.json`. */
export function splitMlx(name: string, weight: QuantizedTensor): SplitWeight {
  return weight.scheme.grid.type === 'float' ? splitFloats(name, weight) : splitAffine(name, weight);
}

function splitFloats(name: string, weight: QuantizedTensor): SplitWeight {
  const { shape, scheme, parts } = weight;
  const { grid, granularity } = scheme;
  refuseSideParts(weight, WHERE);
  const grouped = granularity.type === 'group' && granularity.axis === shape.length - 1 ? granularity.size : 0;
  const columns = shape[shape.length - 1] ?? 0;
  const alike = (Object.keys(MLX_MODES) as MlxMode[]).filter((mode) => {
    const own = MLX_MODES[mode];
    const sameGrid =
      grid.type === 'float' && own.grid.exponent === grid.exponent && own.grid.mantissa === grid.mantissa;
    return sameGrid && grid.bias === own.grid.bias && own.groupSize === grouped && columns % grouped === 0;
  });
  const [mode] = alike;
  if (mode === undefined || parts.groupIndex !== undefined) {
    return refuse('UNSUPPORTED', WHERE, name, 'only E2M1 in groups of 32 or 16 and E4M3 in groups of 32 can be held');
  }
  const { bits, groupSize, codeType, scaleType } = MLX_MODES[mode];
  const groupShape = [...shape.slice(0, -1), columns / groupSize];
  const scales = exactScaleCodes(name, weight, scaleType, groupShape, WHERE);
  const { bytes } = packFloatCodes(weight, bits);
  return {
    tensors: new Map<string, PackedTensor>([
      [name, wordsOf(packed(codeType, shape, bytes), bits)],
      [`${moduleName(name, WHERE)}.scales`, packed('u8', groupShape, scales)],
    ]),
    settings: { group_size: groupSize, bits, mode },
  };
}

function splitAffine(name: string, weight: QuantizedTensor): SplitWeight {
  const affine = affineWeight(asMatrix(weight), WHERE);
  const { rows, columns } = affine;
  const bits = MLX_BITS.find((width) => width >= affine.bits);
  if (bits === undefined) return refuse('UNSUPPORTED', WHERE, name, `codes of ${affine.bits} bits; at most 8 are held`);
  if (affine.groupIndex !== undefined)
    refuse('UNSUPPORTED', WHERE, name, 'groups must lie in the order of the columns');
  const groupSize = [...MLX_GROUP_SIZES]
    .reverse()
    .find((size) => affine.groupSize % size === 0 && columns % size === 0);
  if (groupSize === undefined) {
    return refuse(
      'UNSUPPORTED',
      WHERE,
      name,
      `groups of ${affine.groupSize} in rows of ${columns} are not made of groups of ${MLX_GROUP_SIZES.join(', ')}`,
    );
  }
  const groups = columns / groupSize;
  const scales = new Float32Array(rows * groups);
  const biases = new Float32Array(rows * groups);
  for (let i = 0; i < scales.length; i++) {
    const row = Math.floor(i / groups);
    const from = row * affine.groups + Math.floor(((i % groups) * groupSize) / affine.groupSize);
    scales[i] = affine.scales[from] as number;
    biases[i] = biasOf(affine, from);
  }
  checkValues(name, affine, biases, groupSize);
  const groupShape = [...weight.shape.slice(0, -1), groups];
  const type = sharedFloatType([scales, biases], weight.parts.scales);
  const codes = packCodes(affine.codes, bits, false, weight.shape);
  const module = moduleName(name, WHERE);
  return {
    tensors: new Map<string, PackedTensor>([
      [name, wordsOf(codes, bits)],
      [`${module}.scales`, encode(scales, type, groupShape)],
      [`${module}.biases`, encode(biases, type, groupShape)],
    ]),
    settings: { group_size: groupSize, bits },
  };
}

/** Leading axes counted together, where scales belong to groups of the last. */
function asMatrix(weight: QuantizedTensor): QuantizedTensor {
  const { shape, scheme } = weight;
  const { granularity } = scheme;
  const last = shape.length - 1;
  if (shape.length < 3 || granularity.type !== 'group' || granularity.axis !== last) return weight;
  const columns = shape[last] as number;
  const rows = shape.slice(0, -1).reduce((product, n) => product * n, 1);
  return { ...weight, shape: [rows, columns], scheme: { ...scheme, granularity: { ...granularity, axis: 1 } } };
}

/** `offset - zero * scale`, as it is where there is no zero: a bias of -0 leaves the sign of zeros alone. */
function biasOf({ offsets, zeros, scales }: AffineWeight, group: number): number {
  const zero = zeros[group] as number;
  const offset = offsets?.[group];
  if (zero === 0) return offset ?? -0;
  return (offset ?? 0) - zero * (scales[group] as number);
}

/** Throws `UNSUPPORTED` where MLX's float32 steps give another value than the weight has. */
function checkValues(name: string, affine: AffineWeight, biases: Float32Array, groupSize: number): void {
  const { columns, codes, scales, zeros, offsets } = affine;
  const groups = columns / groupSize;
  for (let group = 0, i = 0; group < biases.length; group++) {
    const row = Math.floor(group / groups);
    const from = row * affine.groups + Math.floor(((group % groups) * groupSize) / affine.groupSize);
    const [scale, zero, bias] = [scales[from] as number, zeros[from] as number, biases[group] as number];
    const offset = offsets?.[from] ?? -0;
    for (const end = (group + 1) * groupSize; i < end; i++) {
      const code = codes[i] as number;
      const value = Math.fround(Math.fround(Math.fround(code - zero) * scale) + offset);
      const theirs = Math.fround(Math.fround(code * scale) + bias);
      if (value !== theirs && !(Number.isNaN(value) && Number.isNaN(theirs))) {
        refuse(
          'UNSUPPORTED',
          WHERE,
          name,
          `code ${code} of group ${from} is ${value}, but ${theirs} with the zero ${zero} as a bias: it is rounded`,
        );
      }
    }
  }
}

/** Rows of codes as 32-bit words. */
function wordsOf({ shape, bytes }: PackedTensor, bits: number): PackedTensor<'u32'> {
  const columns = shape[shape.length - 1] as number;
  return packed('u32', [...shape.slice(0, -1), (columns * bits) / 32], bytes);
}
