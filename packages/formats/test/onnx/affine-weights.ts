import { type QuantizedTensor, type Scheme, tensor } from '@halftone/tensor';
import { fillBytes } from '../support/files.js';

export interface WeightOptions {
  readonly rows?: number;
  readonly columns?: number;
  readonly bits?: number;
  /** 0: one scale for each row. */
  readonly group?: number;
  readonly zeros?: boolean;
}

/** A weight with every code in use and scales of both signs. */
export function affine(options: WeightOptions = {}): QuantizedTensor {
  const { rows = 5, columns = 70, bits = 4, group = 32, zeros = true } = options;
  const groups = group === 0 ? 1 : Math.ceil(columns / group);
  const noise = fillBytes(`${bits}-${group}`, rows * columns);
  const half = 2 ** (bits - 1);
  const signed = Int8Array.from(noise, (byte) => (byte >> (8 - bits)) - half);
  const scales = Float32Array.from({ length: rows * groups }, (_, i) => (i % 3 === 1 ? -1 : 1) * (0.1 + i / 7));
  const scheme: Scheme = {
    name: 'affine',
    version: 1,
    grid: { type: 'affine', bits, signed: !zeros, symmetric: !zeros },
    granularity: group === 0 ? { type: 'axis', axis: 0 } : { type: 'group', axis: 1, size: group },
  };
  const shape = group === 0 ? [rows] : [rows, groups];
  return {
    kind: 'quantized',
    shape: [rows, columns],
    scheme,
    parts: {
      codes: zeros
        ? tensor(
            Uint8Array.from(signed, (code) => code + half),
            [rows, columns],
          )
        : tensor(signed, [rows, columns]),
      scales: tensor(scales, shape),
      ...(zeros
        ? {
            zeros: tensor(
              Uint8Array.from(scales, (_, i) => (i * 5 + (i % 2)) % 2 ** bits),
              shape,
            ),
          }
        : {}),
    },
  };
}
