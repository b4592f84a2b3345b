import { readFileSync } from 'node:fs';
import { ggmlDequantize, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { dequantize, encode, GGML_TYPES, type GgmlType, unpackCodes } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { decodeGgml, GGML_CODECS, unpackGgml } from '../src/ggml/index.js';
import { firstDifference, randomBlocks } from './ggml-blocks.js';

const TYPES = Object.keys(GGML_TYPES) as GgmlType[];

describe.each(TYPES)('%s', (type) => {
  const { blockSize, blockBytes } = GGML_TYPES[type];

  it('decodes the golden blocks to the bits of ggml', () => {
    const file = new Uint8Array(readFileSync(new URL(`./fixtures/ggml/${type}.bin`, import.meta.url)));
    const elements = file.length / (blockBytes / blockSize + 4);
    const packed = {
      kind: 'packed',
      dtype: type,
      shape: [elements],
      bytes: file.subarray(0, file.length - elements * 4),
    } as const;
    const expected = new Float32Array(file.slice(file.length - elements * 4).buffer);
    expect(firstDifference(decodeGgml(packed), expected)).toBe(-1);
  });

  it.skipIf(!oracleAvailable())(
    `decodes 400 random blocks to the bits of ggml${oracleAvailable() ? '' : ' (skipped: llama.cpp libraries not installed)'}`,
    () => {
      for (const seed of [1, 2]) {
        const packed = randomBlocks(type, 4, 50 * blockSize, seed);
        const expected = ggmlDequantize(type, packed.bytes, 200 * blockSize);
        expect(firstDifference(GGML_CODECS[type].decode(packed), expected)).toBe(-1);
      }
    },
  );

  it('decodes as the reference decoder does after unpacking', () => {
    const packed = randomBlocks(type, 3, 5 * blockSize, 7);
    const expected = dequantize(unpackGgml(packed));
    // ggml has no minus zero where codes are small floats.
    if (type === 'MXFP4' || type === 'NVFP4') clearMinusZeros(expected, unpackCodes(unpackGgml(packed).parts.codes));
    expect(firstDifference(decodeGgml(packed), expected)).toBe(-1);
  });

  it('decodes bytes at any address into the array that is given', () => {
    const packed = randomBlocks(type, 2, blockSize, 3);
    const shifted = new Uint8Array(packed.bytes.length + 1).subarray(1);
    shifted.set(packed.bytes);
    const out = new Float32Array(2 * blockSize);
    expect(decodeGgml({ ...packed, bytes: shifted }, out)).toBe(out);
    expect(out).toEqual(decodeGgml(packed));
  });
});

describe.skipIf(!oracleAvailable())('scale bytes', () => {
  it.each([
    ['MXFP4', 1],
    ['NVFP4', 4],
  ] as const)('%s: reads all 256 as ggml does', (type, scaleBytes) => {
    const { blockSize, blockBytes } = GGML_TYPES[type];
    const bytes = new Uint8Array(256 * blockBytes).map((_, i) => {
      const at = i % blockBytes;
      return at < scaleBytes ? Math.floor(i / blockBytes) : at * 17 + 8;
    });
    const packed = { kind: 'packed', dtype: type, shape: [256 * blockSize], bytes } as const;
    expect(firstDifference(decodeGgml(packed), ggmlDequantize(type, bytes, 256 * blockSize))).toBe(-1);
  });
});

function clearMinusZeros(values: Float32Array, codes: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) if (codes[i] === 8) values[i] = 0;
}

describe('decodeGgml', () => {
  it('decodes plain elements through the tensor package', () => {
    const values = [0, -1.5, 0.25, 65504];
    for (const dtype of ['f32', 'f16', 'bf16'] as const) {
      const packed = encode(values, dtype, [2, 2]);
      expect([...decodeGgml(packed)]).toEqual(dtype === 'bf16' ? [0, -1.5, 0.25, 65536] : values);
    }
  });

  it('takes tensors of any rank and no elements', () => {
    const packed = randomBlocks('Q4_0', 4, 64, 5);
    expect(decodeGgml({ ...packed, shape: [2, 2, 64] })).toEqual(decodeGgml(packed));
    expect(decodeGgml({ ...packed, shape: [0, 64], bytes: new Uint8Array(0) })).toEqual(new Float32Array(0));
  });
});
