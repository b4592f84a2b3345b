import { ggml } from '@halftone/quantizers';
import type { GgmlType } from '@halftone/tensor';
import { dequantize, type Granularity, type QuantizedTensor, type Scheme, tensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LATTICE_TYPES } from './lattice-types.js';
import { noise, quantizedNoise } from './noise.js';
import { backends, distance, largestError, plainProduct, product } from './product.js';

/** All but those whose codes stand for several values, which the backend refuses. */
const TYPES = (Object.keys(GGML_SCHEMES) as GgmlType[]).filter((type) => !LATTICE_TYPES.includes(type));

function affine(bits: number, signed: boolean, symmetric: boolean, granularity: Granularity): Scheme {
  return { name: 'affine', version: 1, grid: { type: 'affine', bits, signed, symmetric }, granularity };
}

/** What `int8` stands for: inputs rounded to 8 bits, a scale for each 32. */
function roundedInputs(x: Float32Array, inFeatures: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let row = 0; row < x.length; row += inFeatures) {
    for (let start = row; start < row + inFeatures; start += 32) {
      const run = x.subarray(start, Math.min(start + 32, row + inFeatures));
      const largest = run.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      for (const [i, value] of run.entries()) {
        out[start + i] = largest === 0 ? 0 : (Math.round((value * 127) / largest) * largest) / 127;
      }
    }
  }
  return out;
}

const granularity: fc.Arbitrary<Granularity> = fc.oneof(
  fc.constantFrom(16, 32, 48, 64, 128).map((size) => ({ type: 'group', axis: 1, size }) as const),
  fc.constant({ type: 'tensor' } as const),
  fc.constant({ type: 'axis', axis: 0 } as const),
);

const weight: fc.Arbitrary<QuantizedTensor> = fc
  .record({
    bits: fc.integer({ min: 1, max: 8 }),
    signed: fc.boolean(),
    parts: fc.constantFrom({}, { zeros: true }, { offsets: true }, { zeros: true, offsets: true }),
    granularity,
    outFeatures: fc.integer({ min: 1, max: 19 }),
    inFeatures: fc.integer({ min: 1, max: 150 }),
    seed: fc.nat(1e6),
  })
  .map(({ bits, signed, parts, granularity, outFeatures, inFeatures, seed }) => {
    const scheme = affine(bits, signed, Object.keys(parts).length === 0, granularity);
    return quantizedNoise(scheme, [outFeatures, inFeatures], { ...parts, seed });
  });

describe.each(backends({ activations: 'float' }))('$name with float activations', (backend) => {
  it('multiplies what the reference decodes', () => {
    fc.assert(
      fc.property(weight, fc.integer({ min: 1, max: 9 }), fc.boolean(), (q, rows, biased) => {
        const [outFeatures, inFeatures] = q.shape;
        const x = noise(rows * inFeatures);
        const bias = biased ? noise(outFeatures) : undefined;
        const expected = plainProduct(dequantize(q), q.shape, x, rows, bias);
        // Zeros of one group are folded into its offset, which may cancel against the code.
        const cancels =
          q.parts.zeros === undefined ? 1 : 2 ** (q.scheme.grid.type === 'affine' ? q.scheme.grid.bits : 0);
        expect(largestError(product(backend, q, x, rows, bias), expected)).toBeLessThan(1e-5 * cancels);
      }),
    );
  });

  it.each(TYPES)('agrees with the reference on %s from a quantizer', async (type) => {
    const q = await ggml(type).quantize(tensor(noise(21 * 768), [21, 768]), { name: 'weight' });
    for (const rows of [1, 2, 9]) {
      const x = noise(rows * 768, 2);
      expect(largestError(product(backend, q, x, rows), plainProduct(dequantize(q), q.shape, x, rows))).toBeLessThan(
        1e-5,
      );
    }
  });

  it('decodes weights with parts that kernels do not know', () => {
    const q = quantizedNoise(affine(4, true, true, { type: 'group', axis: 1, size: 32 }), [9, 64]);
    const channelScale = noise(64);
    const lowRank = { left: tensor(noise(18), [9, 2]), right: tensor(noise(128), [2, 64]) };
    const full = { ...q, parts: { ...q.parts, channelScale, lowRank } };
    const x = noise(3 * 64);
    expect(largestError(product(backend, full, x, 3), plainProduct(dequantize(full), full.shape, x, 3))).toBeLessThan(
      1e-5,
    );
  });
});

describe.each(backends({ activations: 'int8' }))('$name with int8 activations', (backend) => {
  it('multiplies rounded inputs with what the reference decodes', () => {
    fc.assert(
      fc.property(weight, fc.integer({ min: 1, max: 9 }), fc.boolean(), (q, rows, biased) => {
        const [outFeatures, inFeatures] = q.shape;
        const bias = biased ? noise(outFeatures) : undefined;
        // Rounded inputs round to themselves.
        const x = roundedInputs(noise(rows * inFeatures), inFeatures);
        const expected = plainProduct(dequantize(q), q.shape, x, rows, bias);
        const cancels =
          q.parts.zeros === undefined ? 1 : 2 ** (q.scheme.grid.type === 'affine' ? q.scheme.grid.bits : 0);
        expect(largestError(product(backend, q, x, rows, bias), expected)).toBeLessThan(1e-5 * cancels);
      }),
    );
  });

  it.each(TYPES)('rounds less than %s does', async (type) => {
    const values = noise(64 * 1024);
    const q = await ggml(type).quantize(tensor(values, [64, 1024]), { name: 'weight' });
    const x = noise(4 * 1024, 2);
    const decoded = plainProduct(dequantize(q), q.shape, x, 4).values;
    const quantizationError = distance(decoded, plainProduct(values, q.shape, x, 4).values);
    const activationError = distance(product(backend, q, x, 4), decoded);
    expect(activationError).toBeLessThan((type === 'Q8_0' ? 1.5 : 0.5) * quantizationError);
  });

  it('stays exact with the largest codes and activations', () => {
    for (const [bits, signed] of [
      [4, true],
      [4, false],
      [6, true],
      [6, false],
      [8, true],
      [8, false],
    ] as const) {
      const q = quantizedNoise(affine(bits, signed, true, { type: 'tensor' }), [8, 256]);
      const [lowest, highest] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
      const codes = new (signed ? Int8Array : Uint8Array)(8 * 256).fill(lowest);
      for (let i = 1; i < codes.length; i += 2) codes[i] = highest;
      const extreme = { ...q, parts: { codes: tensor(codes, [8, 256]) } };
      const x = Float32Array.from({ length: 5 * 256 }, (_, i) => (i & 1 ? 127 : -127) * (i & 256 ? -1 : 1));
      for (const rows of [1, 5]) {
        const expected = plainProduct(dequantize(extreme), extreme.shape, x.subarray(0, rows * 256), rows).values;
        expect([...product(backend, extreme, x, rows)]).toEqual([...expected]);
      }
    }
  });

  it('gives NaN for rows with NaN or infinities and zeros for zeros', () => {
    const q = quantizedNoise(GGML_SCHEMES.Q4_0, [8, 64]);
    const x = noise(5 * 64);
    x[64 + 40] = Number.NaN;
    x[2 * 64] = Infinity;
    x.fill(0, 4 * 64);
    const out = product(backend, q, x, 5);
    const rows = [0, 1, 2, 3, 4].map((row) => [...out.subarray(row * 8, row * 8 + 8)]);
    expect(rows[0].every(Number.isFinite) && rows[3].every(Number.isFinite)).toBe(true);
    expect(rows[1].every(Number.isNaN) && rows[2].every(Number.isNaN)).toBe(true);
    expect(rows[4]).toEqual(new Array(8).fill(0));
  });

  it('keeps huge and tiny inputs in range', () => {
    const q = quantizedNoise(affine(8, true, true, { type: 'tensor' }), [8, 32]);
    for (const unit of [2 ** 100, 2 ** -100]) {
      const x = noise(32).map((value) => value * unit);
      const expected = plainProduct(dequantize(q), q.shape, x, 1);
      expect(largestError(product(backend, q, x, 1), expected)).toBeLessThan(1e-2);
    }
  });

  it.each(['codes', 'scales', 'offsets'] as const)('refuses too few %s', (name) => {
    const q = quantizedNoise(GGML_SCHEMES.Q4_1, [8, 64]);
    const short = { ...q, parts: { ...q.parts, [name]: tensor(new Uint8Array(15)) } };
    expect(() => backend.uploadLinear(short)).toThrow(expect.objectContaining({ code: 'SHAPE' }));
  });

  it('multiplies float weights as they are', () => {
    const values = noise(9 * 33);
    const x = noise(2 * 33);
    const expected = plainProduct(values, [9, 33], x, 2);
    expect(largestError(product(backend, tensor(values, [9, 33]), x, 2), expected)).toBeLessThan(1e-5);
  });
});
