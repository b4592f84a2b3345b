import { dequantize, encode, type QuantizedTensor, tensor } from '@halftone/tensor';
import { quantizedTensorChecks } from '@halftone/tensor/conformance';
import { validateQuantized } from '@halftone/tensor/validate';
import { describe, expect, it } from 'vitest';
import { SAMPLES } from './quantized-samples.js';

describe.each(Object.entries(SAMPLES))('%s', (_, q) => {
  for (const check of quantizedTensorChecks(q, { original: dequantize(q), tolerance: 0 })) it(check.name, check.run);
});

describe('what is wrong is found', () => {
  const base = SAMPLES['groups with a short last one']!;
  const indexed = SAMPLES['group index and permutation']!;
  const corrected = SAMPLES.corrections!;
  const book = SAMPLES['vector codebook']!;
  const withParts = (q: QuantizedTensor, parts: object): QuantizedTensor => ({ ...q, parts: { ...q.parts, ...parts } });
  const withScheme = (q: QuantizedTensor, scheme: object): QuantizedTensor => ({
    ...q,
    scheme: { ...q.scheme, ...scheme },
  });
  const outliers = corrected.parts.outliers!;

  const broken: [string, QuantizedTensor, RegExp][] = [
    ['codes of another shape', { ...base, shape: [6, 9] }, /codes \[6,10\] should be \[6,9\]/],
    ['too few scales', withParts(base, { scales: tensor(new Float32Array(17)) }), /scales \[17\] should be \[6,3\]/],
    ['zeros of another shape', withParts(base, { zeros: tensor(new Float32Array(6)) }), /zeros \[6\]/],
    [
      'bytes missing',
      withParts(base, { codes: { ...base.parts.codes, bytes: new Uint8Array(3) } }),
      /bytes of codes \[3\] should be \[30\]/,
    ],
    ['a group size of 0', withScheme(base, { granularity: { type: 'group', axis: 1, size: 0 } }), /group size 0/],
    [
      'an axis that is not there',
      withScheme(base, { granularity: { type: 'group', axis: 2, size: 4 } }),
      /granularity axis 2 should be 0 .. 1/,
    ],
    ['17 bits', withScheme(base, { grid: { ...base.scheme.grid, bits: 17 } }), /bits 17 should be 1 .. 16/],
    ['zeros on a symmetric grid', withScheme(base, { grid: { ...base.scheme.grid, symmetric: true } }), /symmetric/],
    [
      'a group that is not there',
      withParts(indexed, { groupIndex: new Uint32Array(10).fill(2) }),
      /groupIndex\[0\] is 2/,
    ],
    ['group index without groups', withParts(corrected, { groupIndex: new Uint32Array(10) }), /groupIndex needs/],
    ['a column twice', withParts(indexed, { permutation: new Uint32Array(10) }), /names a column twice/],
    [
      'a column that is not there',
      withParts(indexed, { permutation: new Uint32Array(10).fill(10) }),
      /permutation\[0\] is 10/,
    ],
    [
      'too few channel scales',
      withParts(corrected, { channelScale: new Float32Array(9) }),
      /channelScale \[9\] should be \[10\]/,
    ],
    [
      'falling row pointers',
      withParts(corrected, { outliers: { ...outliers, rowPointers: Uint32Array.of(0, 3, 2, 3, 3, 3, 4) } }),
      /rise from 0 to 4/,
    ],
    [
      'an outlier outside',
      withParts(corrected, { outliers: { ...outliers, columns: Uint32Array.of(1, 10, 4, 0) } }),
      /outliers.columns\[1\] is 10/,
    ],
    [
      'a low rank that does not fit',
      withParts(corrected, {
        lowRank: { left: tensor(new Float32Array(6), [6, 1]), right: tensor(new Float32Array(20), [2, 10]) },
      }),
      /lowRank.left/,
    ],
    ['no codebook', withParts(book, { codebook: undefined }), /needs a codebook/],
    [
      'a codebook of other vectors',
      withParts(book, { codebook: tensor(new Float32Array(16), [4, 4]) }),
      /vectors of codebook \[4\]/,
    ],
    ['a codebook too large', withParts(book, { codebook: tensor(new Float32Array(18), [9, 2]) }), /9 should be 1 .. 8/],
    [
      'vectors over the end of a row',
      withScheme(book, { grid: { ...book.scheme.grid, vectorLength: 3 } }),
      /last vector of a row/,
    ],
    [
      'blocks of a vector',
      { ...withScheme(base, { granularity: { type: 'block', rows: 2, columns: 2 } }), shape: [60] },
      /block granularity/,
    ],
    [
      'wrong nested scales',
      withParts(SAMPLES.Q6_K!, {
        scales: {
          ...(SAMPLES.Q6_K!.parts.scales as QuantizedTensor),
          parts: (SAMPLES.Q4_K!.parts.scales as QuantizedTensor).parts,
        },
      }),
      /tensor.scales\] codes \[2,8\]/,
    ],
  ];
  it.each(broken)('%s', (_, q, message) => {
    expect(() => validateQuantized(q)).toThrow(message);
    expect(() => validateQuantized(q)).toThrow(expect.objectContaining({ name: 'HalftoneError' }));
  });

  const failing = (q: QuantizedTensor, options = {}) =>
    quantizedTensorChecks(q, options).filter((check) => {
      try {
        check.run();
        return false;
      } catch {
        return true;
      }
    });
  it('by the other checks too', () => {
    expect(
      failing(withParts(base, { scales: encode(new Float32Array(18).fill(Infinity), 'f16', [6, 3]) })),
    ).toHaveLength(1);
    expect(failing(withParts(base, { codes: tensor(new Uint8Array(60).fill(16), [6, 10]) }))).toHaveLength(1);
    expect(failing(withScheme(base, { params: { f: () => 0 } })).map((check) => check.name)).toContain(
      'the scheme is plain JSON',
    );
    expect(failing(base, { original: new Float32Array(60).fill(99), tolerance: 1 })).toHaveLength(1);
    expect(failing(base)).toHaveLength(0);
  });
});
