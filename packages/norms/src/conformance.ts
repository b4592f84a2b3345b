import type { Norm, NormParameters } from './norm.js';

/** One check of a conformance kit. `run` throws an `Error` that says what differs. Runs in any test runner. */
export interface ConformanceCheck {
  readonly name: string;
  run(): void;
}

const FEATURES = 12;
const ROWS = 5;

/**
 * Checks that every `Norm` must pass: rows independent, in-place use, gain applied last, zero rows finite,
 * surplus room in `out` untouched. `parameters` supplies what the norm needs beyond gain, bias and epsilon.
 */
export function normChecks<Parameters extends NormParameters>(
  norm: Norm<Parameters>,
  parameters: (base: NormParameters) => Parameters,
): ConformanceCheck[] {
  const gain = Float32Array.from({ length: FEATURES }, (_, i) => 0.5 + i / FEATURES);
  const zero = new Float32Array(FEATURES);
  const base = parameters({ gain, bias: zero, epsilon: 1e-5 });
  const forward = (x: Float32Array, rows: number, p: Parameters = base): Float32Array => {
    const out = new Float32Array(rows * FEATURES);
    norm.forward(x, rows, FEATURES, p, out);
    return out;
  };
  return [
    {
      name: 'rows are normalised independently',
      run() {
        const x = sample(ROWS);
        const all = forward(x, ROWS);
        for (let row = 0; row < ROWS; row++) {
          const range = [row * FEATURES, (row + 1) * FEATURES] as const;
          same(forward(x.slice(...range), 1), all.subarray(...range), `row ${row} alone`);
        }
      },
    },
    {
      name: 'out may be x',
      run() {
        const x = sample(ROWS);
        const expected = forward(x, ROWS);
        norm.forward(x, ROWS, FEATURES, base, x);
        same(x, expected, 'in place');
      },
    },
    {
      name: 'values beyond rows * features are untouched',
      run() {
        const x = sample(ROWS);
        const out = new Float32Array(x.length + 3).fill(7);
        norm.forward(x, ROWS, FEATURES, base, out);
        same(out.subarray(x.length), new Float32Array(3).fill(7), 'the surplus');
      },
    },
    {
      name: 'gain multiplies last',
      run() {
        const x = sample(ROWS);
        const plain = forward(
          x,
          ROWS,
          parameters({ gain: new Float32Array(FEATURES).fill(1), bias: zero, epsilon: 1e-5 }),
        );
        const expected = plain.map((value, i) => value * gain[i % FEATURES]);
        near(forward(x, ROWS), expected, 'gain');
      },
    },
    {
      name: 'a row of zeros gives finite values',
      run() {
        for (const value of forward(new Float32Array(FEATURES), 1)) {
          if (!Number.isFinite(value)) throw new Error(`a zero row gave ${value}`);
        }
      },
    },
    {
      name: 'zero rows are allowed',
      run() {
        norm.forward(new Float32Array(0), 0, FEATURES, base, new Float32Array(0));
      },
    },
  ];
}

function sample(rows: number): Float32Array {
  return Float32Array.from({ length: rows * FEATURES }, (_, i) => Math.sin(i * 1.7) * (1 + (i % 4)) + 0.3);
}

function same(actual: Float32Array, expected: Float32Array, what: string): void {
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(actual[i], expected[i]))
      throw new Error(`${what}: value ${i} is ${actual[i]}, expected ${expected[i]}`);
  }
}

function near(actual: Float32Array, expected: Float32Array, what: string): void {
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i] - expected[i]) <= 1e-5 * (1 + Math.abs(expected[i])))) {
      throw new Error(`${what}: value ${i} is ${actual[i]}, expected ${expected[i]}`);
    }
  }
}
