import { LAYER_NORM, layerNorm, type NormParameters, RMS_NORM, rmsNorm } from '@halftone/norms';
import { normChecks } from '@halftone/norms/conformance';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const same = (p: NormParameters) => p;

describe.each([RMS_NORM, LAYER_NORM])('$name conforms', (norm) => {
  it.each(normChecks(norm, same))('$name', ({ run }) => run());
});

const rowArbitrary = fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 2, maxLength: 32 });

describe('rmsNorm', () => {
  it('matches a hand-computed row', () => {
    const out = new Float32Array(2);
    rmsNorm(Float32Array.of(3, 4), 1, 2, Float32Array.of(1, 2), 0, out);
    expect(out[0]).toBeCloseTo(3 / Math.sqrt(12.5), 6);
    expect(out[1]).toBeCloseTo((2 * 4) / Math.sqrt(12.5), 6);
  });

  it('has mean square 1 where the input is not tiny', () => {
    fc.assert(
      fc.property(rowArbitrary, (values) => {
        fc.pre(values.some((v) => Math.abs(v) > 1e-2));
        const out = new Float32Array(values.length);
        rmsNorm(Float32Array.from(values), 1, values.length, new Float32Array(values.length).fill(1), 0, out);
        expect(out.reduce((sum, v) => sum + v * v, 0) / values.length).toBeCloseTo(1, 4);
      }),
    );
  });
});

describe('layerNorm', () => {
  it('matches a hand-computed row', () => {
    const out = new Float32Array(2);
    layerNorm(Float32Array.of(1, 3), 1, 2, Float32Array.of(2, 2), Float32Array.of(10, 20), 0, out);
    expect([...out]).toEqual([8, 22]);
  });

  it('equals rmsNorm of the centred row', () => {
    fc.assert(
      fc.property(rowArbitrary, (values) => {
        const n = values.length;
        const gain = Float32Array.from(values, (_, i) => 1 + i / n);
        const mean = values.reduce((a, b) => a + b, 0) / n;
        const centred = Float32Array.from(values, (v) => v - mean);
        const a = new Float32Array(n);
        const b = new Float32Array(n);
        layerNorm(Float32Array.from(values), 1, n, gain, undefined, 1e-5, a);
        rmsNorm(centred, 1, n, gain, 1e-5, b);
        for (let i = 0; i < n; i++) expect(a[i]).toBeCloseTo(b[i], 3);
      }),
    );
  });

  it('keeps precision when the mean is far larger than the deviation', () => {
    const out = new Float32Array(4);
    layerNorm(Float32Array.of(65537, 65539, 65537, 65539), 1, 4, new Float32Array(4).fill(1), undefined, 0, out);
    expect([...out]).toEqual([-1, 1, -1, 1]);
  });
});

describe('sizes', () => {
  it('refuses what does not fit', () => {
    const eight = new Float32Array(8);
    const four = new Float32Array(4);
    expect(() => rmsNorm(eight, 3, 4, four, 0, eight)).toThrow(/12 values/);
    expect(() => rmsNorm(eight, 2, 4, eight, 0, eight)).toThrow(/gain has 8/);
    expect(() => layerNorm(eight, 2, 4, four, eight, 0, eight)).toThrow(/bias 8/);
    expect(() => layerNorm(eight, -1, 4, four, four, 0, eight)).toThrow(/whole numbers/);
  });
});
