import { dequantize, encode, packCodes, type QuantizedTensor, tensor, type WeightLayout } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { describe, expect, it } from 'vitest';
import { awq, compressedTensors, gptq } from '../../src/layouts.js';
import { bitsOf, expectRoundTrip } from '../support/layouts.js';
import { affine, numbers } from '../support/sample-weights.js';

/** What each layout reads, the next one writes. */
async function chain(weight: QuantizedTensor, layouts: readonly WeightLayout[]): Promise<QuantizedTensor> {
  let current = weight;
  for (const layout of layouts) current = (await expectRoundTrip(layout, current)).read;
  return current;
}

describe('conversions between layouts', () => {
  it('keeps 4-bit values through all layouts and back', async () => {
    const layouts = [
      gptq({ version: 'v2' }),
      awq,
      compressedTensors(),
      gptq({ version: 'v2' }),
      compressedTensors(),
      awq,
    ];
    const weight = affine({ rows: 16, columns: 64, bits: 4, groupSize: 16 });
    const last = await chain(weight, layouts);
    expect(last.parts.codes).toEqual(weight.parts.codes);
  });

  it('keeps g_idx between GPTQ and compressed-tensors', async () => {
    for (const bits of [2, 3, 8]) {
      const weight = affine({ rows: 32, columns: 64, bits, groupSize: 16, groupIndex: true, zeros: 'above 0' });
      const last = await chain(weight, [compressedTensors(), gptq(), compressedTensors({ packing: 'padded' }), gptq()]);
      expect(last.parts.groupIndex).toEqual(weight.parts.groupIndex);
    }
  });

  it('takes Q4_0 and Q8_0 as they are, negative scales too', async () => {
    const random = numbers(5);
    for (const [type, bits] of [
      ['Q4_0', 4],
      ['Q8_0', 8],
    ] as const) {
      const [rows, columns] = [8, 96];
      const codes = Array.from({ length: rows * columns }, () => random(2 ** bits) - 2 ** (bits - 1));
      const scales = Array.from({ length: rows * 3 }, () => (random(2000) - 1000.5) * 2 ** -18);
      const weight: QuantizedTensor = {
        kind: 'quantized',
        shape: [rows, columns],
        scheme: GGML_SCHEMES[type],
        parts: {
          codes:
            bits === 4 ? packCodes(codes, 4, true, [rows, columns]) : tensor(Int8Array.from(codes), [rows, columns]),
          scales: encode(scales, 'f16', [rows, 3]),
        },
      };
      const layouts = bits === 4 ? [gptq(), awq, compressedTensors()] : [gptq(), compressedTensors()];
      const last = await chain(weight, layouts);
      expect(last.scheme.grid).toEqual({ type: 'affine', bits, signed: true, symmetric: true });
      expect(bitsOf(dequantize(last))).toEqual(bitsOf(dequantize(weight)));
    }
  });
});
