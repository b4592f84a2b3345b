/**
 * Checks for quantized tensors made by any quantizer or reader. Knows no test runner: run each check, or hand them to one:
 * `for (const check of quantizedTensorChecks(q)) it(check.name, check.run);`
 */
import { unpackCodes } from './codes.js';
import { dequantize } from './dequantize.js';
import { fail } from './error.js';
import type { QuantizedTensor } from './quantized.js';
import { elementCount } from './shape.js';
import { validateQuantized } from './validate-quantized.js';

export interface ConformanceCheck {
  readonly name: string;
  /** Throws a HalftoneError that names what is wrong. */
  run(): void;
}

export interface QuantizedTensorCheckOptions {
  /** The weight that was quantized, row-major: the decoded values must be this close to it. */
  readonly original?: Float32Array;
  /** Largest allowed `|decoded - original|`. Needed with `original`. */
  readonly tolerance?: number;
}

const WHERE = 'conformance';

/** What every quantized tensor must satisfy. Costs a few decodings of the tensor. */
export function quantizedTensorChecks(
  q: QuantizedTensor,
  options: QuantizedTensorCheckOptions = {},
): ConformanceCheck[] {
  const checks: ConformanceCheck[] = [
    { name: 'parts fit the shape and the scheme', run: () => validateQuantized(q) },
    { name: 'the scheme is plain JSON', run: () => checkJson(q) },
    { name: 'codes are on the grid', run: () => checkCodes(q) },
    { name: 'decodes to finite numbers, as many as the shape says', run: () => checkFinite(q) },
    {
      name: 'decodes to the same numbers each time, also into memory that was used before',
      run: () => checkRepeatable(q),
    },
    { name: 'survives a structured clone', run: () => checkClone(q) },
  ];
  const { original, tolerance } = options;
  if (original !== undefined) {
    checks.push({ name: 'decodes to what was quantized', run: () => checkClose(q, original, tolerance ?? 0) });
  }
  return checks;
}

function checkJson({ scheme }: QuantizedTensor): void {
  if (scheme.name === '' || !Number.isInteger(scheme.version)) {
    fail('FORMAT', WHERE, 'a scheme needs a name and a whole version number');
  }
  const again: unknown = JSON.parse(JSON.stringify(scheme));
  if (!sameJson(again, scheme)) fail('FORMAT', WHERE, `scheme ${scheme.name} changes when written as JSON`);
}

function sameJson(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b);
  const keys = Object.keys(b);
  return (
    Array.isArray(a) === Array.isArray(b) &&
    Object.keys(a).length === keys.length &&
    keys.every((key) => sameJson((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
  );
}

function checkCodes({ scheme: { grid }, parts }: QuantizedTensor): void {
  const signed = grid.type === 'affine' && grid.signed;
  const bits = grid.type === 'float' ? 1 + grid.exponent + grid.mantissa : grid.bits;
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const highest = lowest + 2 ** bits - 1;
  const codes: ArrayLike<number> = unpackCodes(parts.codes);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] as number;
    if (code < lowest || code > highest) {
      fail('RANGE', WHERE, `code ${code} at element ${i} is outside ${lowest} .. ${highest}`, { element: i, code });
    }
  }
  for (const part of [parts.scales, parts.zeros, parts.offsets]) if (part?.kind === 'quantized') checkCodes(part);
}

function checkFinite(q: QuantizedTensor): void {
  const values = dequantize(q);
  const count = elementCount(q.shape);
  if (values.length !== count) fail('SHAPE', WHERE, `decodes to ${values.length} values instead of ${count}`);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) fail('NUMERIC', WHERE, `element ${bad} decodes to ${values[bad]}`, { element: bad });
}

function checkRepeatable(q: QuantizedTensor): void {
  expectSame(dequantize(q, new Float32Array(elementCount(q.shape)).fill(NaN)), dequantize(q), 'a second decoding');
}

function checkClone(q: QuantizedTensor): void {
  expectSame(dequantize(structuredClone(q)), dequantize(q), 'the clone');
}

function expectSame(actual: Float32Array, expected: Float32Array, what: string): void {
  const bad = actual.findIndex((value, i) => !Object.is(value, expected[i]));
  if (bad >= 0) fail('NUMERIC', WHERE, `${what} gives ${actual[bad]} instead of ${expected[bad]} at element ${bad}`);
}

function checkClose(q: QuantizedTensor, original: Float32Array, tolerance: number): void {
  const values = dequantize(q);
  if (values.length !== original.length)
    fail('SHAPE', WHERE, `original has ${original.length} values, not ${values.length}`);
  const bad = values.findIndex((value, i) => !(Math.abs(value - (original[i] as number)) <= tolerance));
  if (bad >= 0) {
    const distance = Math.abs((values[bad] as number) - (original[bad] as number));
    fail('NUMERIC', WHERE, `element ${bad} is ${distance} away from the original; allowed is ${tolerance}`, {
      element: bad,
    });
  }
}
