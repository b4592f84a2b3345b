import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyRope, type RopeConfig, type RopeTables, ropeFrequencies, ropeTables } from '../src/index.js';
import { noise } from './tiny-models.js';

const plain: RopeConfig = { theta: 10_000, scaling: { type: 'default' } };
const heap = { allocate: (length: number) => new Float32Array(length), free() {} };

function rotate(tables: RopeTables, x: Float32Array, position: number, heads: number): void {
  tables.cover(position);
  applyRope(x, Int32Array.of(position), heads, tables.pairs, tables.cosines, tables.sines);
}

describe('ropeFrequencies', () => {
  it('falls geometrically from one to nearly 1 / theta', () => {
    const frequencies = ropeFrequencies(plain, 8);
    for (const [i, expected] of [1, 0.1, 0.01, 0.001].entries()) expect(frequencies[i]).toBeCloseTo(expected, 14);
  });

  it('linear scaling stretches positions', () => {
    const scaled = ropeFrequencies({ theta: 10_000, scaling: { type: 'linear', factor: 4 } }, 64);
    for (const [i, frequency] of ropeFrequencies(plain, 64).entries()) expect(scaled[i]).toBe(frequency / 4);
  });

  it('llama3 scaling keeps short wavelengths, stretches long ones, and blends between', () => {
    const scaling = {
      type: 'llama3',
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 8192,
    } as const;
    const base = ropeFrequencies({ theta: 500_000, scaling: { type: 'default' } }, 128);
    const scaled = ropeFrequencies({ theta: 500_000, scaling }, 128);
    const kinds = new Set<string>();
    base.forEach((frequency, i) => {
      const wavelength = (2 * Math.PI) / frequency;
      if (wavelength < 8192 / 4) {
        kinds.add('short');
        expect(scaled[i]).toBe(frequency);
      } else if (wavelength > 8192) {
        kinds.add('long');
        expect(scaled[i]).toBe(frequency / 8);
      } else {
        kinds.add('between');
        const smooth = (8192 / wavelength - 1) / (4 - 1);
        expect(scaled[i]).toBeCloseTo(((1 - smooth) / 8 + smooth) * frequency, 14);
      }
    });
    expect(kinds.size).toBe(3);
  });

  it('divides by given factors', () => {
    const scaled = ropeFrequencies({ theta: 10_000, scaling: { type: 'factors', factors: [1, 2, 4, 8] } }, 8);
    for (const [i, expected] of [1, 0.05, 0.0025, 0.000125].entries()) expect(scaled[i]).toBeCloseTo(expected, 14);
  });
});

describe('applyRope', () => {
  const turned = (x: Float32Array, position: number) => {
    const copy = x.slice();
    rotate(ropeTables(plain, x.length, heap), copy, position, 1);
    return copy;
  };
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);

  it('leaves position 0 alone', () => {
    const x = Float32Array.of(1, -2, 3, 4);
    expect(turned(x, 0)).toEqual(x);
  });

  it('makes scores depend on the distance alone', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(500), fc.nat(500), fc.nat(300), (start, p, q, shift) => {
        const next = noise(start);
        const a = Float32Array.from({ length: 16 }, next);
        const b = Float32Array.from({ length: 16 }, next);
        const here = dot(turned(a, p), turned(b, q));
        expect(Math.abs(dot(turned(a, p + shift), turned(b, q + shift)) - here)).toBeLessThan(1e-5);
      }),
    );
  });

  it('pairs channel i with channel i + half of every head', () => {
    const x = new Float32Array(12);
    x[6] = 1;
    rotate(ropeTables(plain, 6, heap), x, 3, 2);
    expect(x[6]).toBeCloseTo(Math.cos(3), 6);
    expect(x[9]).toBeCloseTo(Math.sin(3), 6);
    expect([...x].filter((value) => value !== 0)).toHaveLength(2);
  });

  it('gives the same angles whether its table grows in one step or in many', () => {
    const x = Float32Array.from({ length: 8 }, noise(3));
    const stepwise = ropeTables(plain, 8, heap);
    for (let position = 0; position <= 700; position += 35) {
      const copy = x.slice();
      rotate(stepwise, copy, position, 1);
      expect(copy).toEqual(turned(x, position));
    }
  });
});
