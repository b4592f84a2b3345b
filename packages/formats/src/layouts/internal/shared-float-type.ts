import { decode, encode, type ParameterTensor } from '@halftone/tensor';

export type ScaleType = 'f16' | 'bf16' | 'f32';

/**
 * The type in which to store several arrays: that of `own`, where it has one of these types, else the first of f16, bf16 and
 * f32, that holds all of them exactly. Runtimes compute in the type of the scales, so a weight keeps the type it came with.
 */
export function sharedFloatType(arrays: readonly Float32Array[], own: ParameterTensor | undefined): ScaleType {
  const types: readonly ScaleType[] = ['f16', 'bf16', 'f32'];
  const given = types.find((type) => own?.kind === 'packed' && own.dtype === type);
  const candidates = given === undefined ? types : [given, ...types];
  return candidates.find((type) => arrays.every((values) => holds(type, values))) as ScaleType;
}

function holds(type: ScaleType, values: Float32Array): boolean {
  if (type === 'f32') return true;
  const decoded = decode(encode(values, type));
  return values.every((value, i) => Object.is(value, decoded[i]));
}
