import { dequantize, type Granularity, type Grid, type QuantizedTensor, tensor } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { noise } from './noise.js';
import { backends, distance, largestError, plainProduct, product } from './product.js';

/** The 16 levels of IQ4_NL, which are integers. */
const INTEGERS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/** Quantiles of a normal distribution between -1 and 1: no two in a simple ratio. */
const QUANTILES = [
  -1, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0, 0.0795803, 0.1609302, 0.2461123,
  0.33791524, 0.44070983, 0.562617, 0.72295684, 1,
];

const group = (size: number): Granularity => ({ type: 'group', axis: 1, size });
const lookup = (bits: number): Grid => ({ type: 'lookup', bits, vectorLength: 1, stages: 1 });
const float = (exponent: number, mantissa: number, bias: number): Grid => ({ type: 'float', exponent, mantissa, bias });

interface Options {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly seed?: number;
  readonly codebook?: readonly number[];
  /** Codes are below. */
  readonly codes: number;
}

function weight(grid: Grid, granularity: Granularity, options: Options): QuantizedTensor {
  const { outFeatures, inFeatures, seed = 1, codebook, codes } = options;
  const shape = [outFeatures, inFeatures];
  const groups = granularity.type === 'group' ? Math.ceil(inFeatures / granularity.size) : 1;
  const scales = granularity.type === 'tensor' ? [1, 1] : [outFeatures, groups];
  const values = noise(outFeatures * inFeatures, seed);
  return {
    kind: 'quantized',
    shape,
    scheme: { name: 'table', version: 1, grid, granularity },
    parts: {
      codes: tensor(
        Uint8Array.from(values, (value) => Math.floor((value + 0.5) * codes)),
        shape,
      ),
      scales: tensor(
        noise(scales[0] * scales[1], seed + 1).map((value) => 2 ** Math.round(4 * value)),
        scales,
      ),
      ...(codebook && { codebook: tensor(Float32Array.from(codebook), [codebook.length, 1]) }),
      ...(seed % 2 === 0 && { globalScale: 0.5 }),
    },
  };
}

const granularity: fc.Arbitrary<Granularity> = fc.oneof(
  fc.constantFrom(16, 32, 48, 64).map(group),
  fc.constant({ type: 'tensor' } as const),
  fc.constant({ type: 'axis', axis: 0 } as const),
);
const size = {
  outFeatures: fc.integer({ min: 1, max: 19 }),
  inFeatures: fc.integer({ min: 1, max: 100 }),
  seed: fc.nat(1e6),
};

/** Tables whose entries are integers of at most 127 times a power of two. */
const exactTable: fc.Arbitrary<readonly [Grid, (readonly number[])?]> = fc.oneof<
  fc.Arbitrary<readonly [Grid, (readonly number[])?]>[]
>(
  fc.constant([lookup(4), INTEGERS] as const),
  fc.constantFrom([-1, 0, 1], [-3, -1, 1, 3], [0, 5, 127, -127], [2]).map((table) => [lookup(2), table] as const),
  fc
    .array(fc.integer({ min: -127, max: 127 }), { minLength: 5, maxLength: 8 })
    .map((table) => [lookup(3), table] as const),
  fc.constant([float(2, 1, 1)] as const),
  fc.constant([float(3, 0, 3)] as const),
  fc.constant([float(1, 1, 0)] as const),
);
const exact = fc.record({ table: exactTable, granularity, ...size }).map(({ table: [grid, codebook], ...rest }) => {
  const codes = codebook?.length ?? 2 ** (grid.type === 'float' ? 1 + grid.exponent + grid.mantissa : 0);
  return weight(grid, rest.granularity, { ...rest, codes, codebook });
});

const learned = fc.record({ bits: fc.integer({ min: 1, max: 4 }), granularity, ...size }).map(({ bits, ...rest }) => {
  const codebook = [...noise(2 ** bits, rest.seed + 5)];
  return weight(lookup(bits), rest.granularity, { ...rest, codes: 2 ** bits, codebook });
});

/** Multiples of a power of two by integers up to 127, with a 127 in each run of 32: they round to themselves. */
function roundInputs(count: number, inFeatures: number): Float32Array {
  return noise(count * inFeatures).map(
    (value, i) => ((i % inFeatures) % 32 === 0 ? 127 : Math.round(value * 250)) / 64,
  );
}

describe.each(backends({ activations: 'float' }))('$name with float activations', (backend) => {
  it('multiplies what tables stand for', () => {
    fc.assert(
      fc.property(fc.oneof(exact, learned), fc.integer({ min: 1, max: 9 }), (q, rows) => {
        expect(backend.supports(q.scheme)).toBe(true);
        const x = noise(rows * q.shape[1]);
        const expected = plainProduct(dequantize(q), q.shape, x, rows);
        expect(largestError(product(backend, q, x, rows), expected)).toBeLessThan(1e-5);
      }),
    );
  });

  it.each([
    [4, 3, 7],
    [5, 2, 15],
    [3, 2, 3],
    [2, 3, 1],
  ])('multiplies floats of %i exponent and %i mantissa bits', (exponent, mantissa, bias) => {
    const codes = 2 ** (exponent + mantissa + 1) - (exponent === 5 ? 4 : 1);
    const q = weight(float(exponent, mantissa, bias), group(32), { outFeatures: 19, inFeatures: 70, codes });
    const finite = {
      ...q,
      parts: {
        ...q.parts,
        codes: tensor(
          (q.parts.codes as { data: Uint8Array }).data.map(
            (c) => c & (exponent === 5 ? 0xfb : exponent === 4 ? 0xfe : 0xff),
          ),
          q.shape,
        ),
      },
    };
    const x = noise(3 * 70);
    const expected = plainProduct(dequantize(finite), q.shape, x, 3);
    expect(largestError(product(backend, finite, x, 3), expected)).toBeLessThan(1e-5);
  });
});

describe.each(backends({ activations: 'int8' }))('$name with int8 activations', (backend) => {
  it('is exact on tables of integers', () => {
    fc.assert(
      fc.property(exact, fc.integer({ min: 1, max: 9 }), (q, rows) => {
        const x = roundInputs(rows, q.shape[1]);
        const expected = plainProduct(dequantize(q), q.shape, x, rows);
        expect(largestError(product(backend, q, x, rows), expected)).toBeLessThan(1e-6);
      }),
    );
  });

  it('rounds entries of other tables to 1/254 of the largest', () => {
    fc.assert(
      fc.property(learned, fc.integer({ min: 1, max: 9 }), (q, rows) => {
        const { scales, codebook, codes } = q.parts;
        const table = (codebook as { data: Float32Array }).data;
        const largest = table.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const x = roundInputs(rows, q.shape[1]);
        const expected = plainProduct(dequantize(q), q.shape, x, rows).values;
        const flat = {
          ...q,
          parts: {
            ...q.parts,
            codebook: tensor(new Float32Array(table.length).fill(largest), [table.length, 1]),
            codes,
            scales,
          },
        };
        const bound = plainProduct(dequantize(flat), q.shape, x, rows).magnitudes;
        const actual = product(backend, q, x, rows);
        for (const [i, value] of actual.entries()) {
          expect(Math.abs(value - expected[i])).toBeLessThanOrEqual((bound[i] / 254) * 1.001 + 1e-6);
        }
      }),
    );
  });

  it.each([
    { name: 'quantiles', grid: lookup(4), codebook: QUANTILES },
    { name: 'f8_e4m3', grid: float(4, 3, 7) },
    { name: 'f8_e5m2', grid: float(5, 2, 15) },
  ])('rounds far less than $name do', ({ grid, codebook }) => {
    const [outFeatures, inFeatures, rows] = [32, 512, 4];
    const values = noise(outFeatures * inFeatures);
    const codes = codebook?.length ?? 256;
    const options = { outFeatures, inFeatures, codes, codebook };
    const { scheme, shape, parts } = weight(grid, { type: 'tensor' }, options);
    const q = (list: Uint8Array) => ({
      ...{ kind: 'quantized' as const, scheme, shape: [1, list.length] },
      parts: { codebook: parts.codebook, codes: tensor(list, [1, list.length]) },
    });
    const table = dequantize(q(Uint8Array.from({ length: codes }, (_, code) => code)));
    const nearest = (value: number) =>
      table.reduce((best, entry, i) => (Math.abs(entry - value) < Math.abs(table[best] - value) ? i : best), 0);
    const rounded = { ...q(Uint8Array.from(values, nearest)), shape };
    const x = noise(rows * inFeatures, 2);
    const decoded = plainProduct(dequantize(rounded), shape, x, rows).values;
    const quantizationError = distance(decoded, plainProduct(values, shape, x, rows).values);
    expect(distance(product(backend, rounded, x, rows), decoded)).toBeLessThan(0.3 * quantizationError);
  });

  it('gives NaN for a feature with a NaN', () => {
    const q = weight(float(4, 3, 7), group(32), { outFeatures: 9, inFeatures: 40, codes: 100 });
    (q.parts.codes as { data: Uint8Array }).data[3 * 40 + 33] = 0x7f;
    for (const rows of [1, 3]) {
      const out = product(backend, q, noise(rows * 40), rows);
      for (const [i, value] of out.entries()) expect(Number.isNaN(value)).toBe(i % 9 === 3);
    }
  });

  it('refuses codes beyond the codebook', () => {
    const q = weight(lookup(4), group(32), { outFeatures: 4, inFeatures: 32, codes: 16, codebook: QUANTILES.slice(1) });
    expect(() => backend.uploadLinear(q)).toThrow(expect.objectContaining({ code: 'RANGE' }));
  });

  it('holds a weight in the bits that its table needs', () => {
    const bytes = (table: readonly number[]) => {
      const q = weight(lookup(4), group(32), {
        outFeatures: 64,
        inFeatures: 256,
        codes: table.length,
        codebook: table,
      });
      const uploaded = backend.uploadLinear(q);
      backend.release(uploaded);
      return Math.floor((8 * uploaded.byteLength) / (64 * 256));
    };
    expect([bytes(QUANTILES), bytes(QUANTILES.slice(8, 12))]).toEqual([5, 3]);
  });
});
