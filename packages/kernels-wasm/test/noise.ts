import { type QuantizedTensor, type Scheme, tensor } from '@halftone/tensor';

/** Values between -0.5 and 0.5 that are the same on every run. */
export function noise(length: number, seed = 1): Float32Array {
  let state = (seed * 2654435761) >>> 0;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

/** Random codes and parameters of an affine scheme, with the parts that its grid calls for. */
export function quantizedNoise(
  scheme: Scheme,
  [outFeatures, inFeatures]: readonly [number, number],
  parts: { readonly zeros?: boolean; readonly offsets?: boolean; readonly seed?: number } = {},
): QuantizedTensor {
  const { grid, granularity } = scheme;
  if (grid.type !== 'affine') throw new Error('not an affine scheme');
  const { seed = 1, zeros = false, offsets = !grid.symmetric && !zeros } = parts;
  const levels = 2 ** grid.bits;
  const values = noise(outFeatures * inFeatures, seed);
  const codes = new (grid.signed ? Int8Array : Uint8Array)(values.length);
  for (let i = 0; i < codes.length; i++) {
    // Numbers just below a half round to it.
    codes[i] = Math.min(Math.floor((values[i] + 0.5) * levels), levels - 1) - (grid.signed ? levels / 2 : 0);
  }
  const groups = granularity.type === 'group' ? Math.ceil(inFeatures / granularity.size) : 1;
  const shape = granularity.type === 'tensor' ? [1, 1] : [outFeatures, groups];
  const count = shape[0] * shape[1];
  const parameters = (start: number, scale: number, shift: number) =>
    tensor(
      noise(count, seed + start).map((value) => value * scale + shift),
      shape,
    );
  return {
    kind: 'quantized',
    shape: [outFeatures, inFeatures],
    scheme,
    parts: {
      codes: tensor(codes, [outFeatures, inFeatures]),
      scales: parameters(1, 0.01, 0.01),
      ...(zeros && { zeros: parameters(2, levels, 0) }),
      ...(offsets && { offsets: parameters(3, 0.1, -0.1) }),
    },
  };
}
