import { GGML_TYPES, type GgmlType } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { quantizerChecks } from '../src/conformance.js';
import { type GridQuantizer, ggml, mseShrink, type RtnOptions, rtn } from '../src/index.js';

const TYPES = Object.keys(GGML_TYPES) as GgmlType[];
const RTN: RtnOptions[] = [
  {},
  { bits: 1 },
  { bits: 8, granularity: 'tensor' },
  { bits: 8, granularity: 'row', symmetry: 'restricted-range' },
  { bits: 3, granularity: 100, symmetry: 'full-range', scaleDtype: 'bf16' },
  { bits: 4, granularity: 32, symmetry: 'signed-max', scaleDtype: 'f32' },
  { bits: 2, fit: mseShrink({ norm: 2, grid: 20 }) },
  { bits: 4, granularity: 'tensor', fit: mseShrink({ grid: 10, importance: true }) },
];
const QUANTIZERS: readonly (() => GridQuantizer)[] = [
  ...TYPES.flatMap((type) => [() => ggml(type), () => ggml(type, { importance: false })]),
  ...RTN.map((options) => () => rtn(options)),
];

for (const create of QUANTIZERS) {
  describe(`${create().name} ${create.toString().includes('importance: false') ? 'without importance' : ''}`, () => {
    for (const check of quantizerChecks(create)) it(check.name, () => check.run());
  });
}

describe('the conformance kit', () => {
  const failing = async (change: (quantizer: GridQuantizer) => Partial<GridQuantizer>): Promise<string[]> => {
    const failed: string[] = [];
    for (const check of quantizerChecks(() => ({ ...rtn(), ...change(rtn()) }))) {
      await check.run().catch(() => failed.push(check.name));
    }
    return failed;
  };

  it('notices a false claim of independent rows', async () => {
    const failed = await failing(() => ({ ...rtn({ granularity: 'tensor' }), rowwise: true }));
    expect(failed).toEqual(['quantizes row ranges alone, where it says that it is rowwise']);
  });

  it('notices a scheme that differs from the result', async () => {
    const failed = await failing(() => ({ scheme: rtn({ bits: 5 }).scheme }));
    expect(failed).toContain('gives parts that match its scheme and decode to something near the weight');
  });

  it('notices accepted NaN', async () => {
    const failed = await failing((inner) => ({
      quantize: (weight, context) => {
        const clean = weight.data.map((value) => (Number.isNaN(value) ? 0 : value));
        return inner.quantize({ ...weight, data: clean }, context);
      },
    }));
    expect(failed).toEqual(['refuses values that are not finite with a NUMERIC error that names the tensor']);
  });
});
