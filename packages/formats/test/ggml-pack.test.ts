import {
  dequantize,
  encode,
  GGML_TYPES,
  type GgmlType,
  HalftoneError,
  type PackedTensor,
  packCodes,
  type QuantizedParts,
  type QuantizedTensor,
  tensor,
} from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GGML_CODECS, packGgml, q4_0, q4_K, unpackGgml } from '../src/ggml/index.js';
import { randomBlocks } from './ggml-blocks.js';

const TYPES = Object.keys(GGML_TYPES) as GgmlType[];

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof HalftoneError) return error.code;
    throw error;
  }
  return 'no error';
}

function withParts(q: QuantizedTensor, parts: Partial<QuantizedParts>): QuantizedTensor {
  return { ...q, parts: { ...q.parts, ...parts } };
}

describe.each(TYPES)('%s', (type) => {
  const { blockSize, blockBytes } = GGML_TYPES[type];

  it('packs what it unpacks to the same bytes, whatever they are', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.infiniteStream(fc.integer({ min: 0, max: 255 })),
        (rows, blocks, stream) => {
          const bytes = Uint8Array.from({ length: rows * blocks * blockBytes }, () => stream.next().value);
          const packed: PackedTensor = { kind: 'packed', dtype: type, shape: [rows, blocks * blockSize], bytes };
          const q = unpackGgml(packed);
          expect(q.scheme).toBe(GGML_SCHEMES[type]);
          dequantize(q);
          expect(packGgml(q)).toEqual(packed);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('packs densely packed codes too', () => {
    const packed = randomBlocks(type, 2, blockSize, 9);
    const q = unpackGgml(packed);
    const { grid } = q.scheme;
    if (grid.type !== 'affine' || q.parts.codes.kind === 'packed')
      throw new Error('affine grids with plain codes only');
    const codes = packCodes(q.parts.codes.data, grid.bits, grid.signed, q.shape);
    expect(packGgml(withParts(q, { codes })).bytes).toEqual(packed.bytes);
  });

  it('refuses bytes and shapes that do not fit', () => {
    const packed = randomBlocks(type, 2, blockSize, 1);
    const codec = GGML_CODECS[type];
    expect(codeOf(() => codec.decode({ ...packed, bytes: packed.bytes.subarray(1) }))).toBe('SHAPE');
    expect(codeOf(() => codec.decode({ ...packed, shape: [2, blockSize + 1] }))).toBe('SHAPE');
    expect(codeOf(() => codec.decode({ ...packed, shape: [4, blockSize / 2] }))).toBe('SHAPE');
    expect(codeOf(() => codec.decode(packed, new Float32Array(2 * blockSize - 1)))).toBe('SHAPE');
    expect(codeOf(() => codec.decode({ ...packed, dtype: type === 'Q8_0' ? 'Q4_0' : 'Q8_0' }))).toBe('DTYPE');
    expect(codeOf(() => codec.unpack({ ...packed, shape: [2 * blockSize] }))).toBe('SHAPE');
    expect(codeOf(() => codec.unpack({ ...packed, bytes: packed.bytes.subarray(1) }))).toBe('SHAPE');
  });

  it('refuses codes outside the grid and missing or misshapen parts', () => {
    const q = unpackGgml(randomBlocks(type, 2, blockSize, 1));
    const { grid } = q.scheme;
    if (grid.type !== 'affine') throw new Error('affine grids only');
    const beyond = new Int16Array(2 * blockSize);
    beyond[5] = grid.signed ? 2 ** (grid.bits - 1) : 2 ** grid.bits;
    expect(codeOf(() => packGgml(withParts(q, { codes: tensor(beyond, q.shape) })))).toBe('RANGE');
    beyond[5] = grid.signed ? -(2 ** (grid.bits - 1)) - 1 : -1;
    expect(codeOf(() => packGgml(withParts(q, { codes: tensor(beyond, q.shape) })))).toBe('RANGE');
    expect(codeOf(() => packGgml(withParts(q, { codes: tensor(new Int8Array(blockSize), [1, blockSize]) })))).toBe(
      'SHAPE',
    );
    expect(codeOf(() => packGgml(withParts(q, { scales: undefined })))).toBe('SHAPE');
    const other = unpackGgml(randomBlocks(type, 1, blockSize, 1));
    expect(codeOf(() => packGgml(withParts(q, { scales: other.parts.scales })))).toBe('SHAPE');
    const offsets = q.parts.offsets === undefined ? q.parts.scales : undefined;
    expect(codeOf(() => packGgml(withParts(q, { offsets })))).toBe(offsets === undefined ? 'SHAPE' : 'UNSUPPORTED');
  });

  it('refuses parts that blocks cannot hold', () => {
    const q = unpackGgml(randomBlocks(type, 2, blockSize, 1));
    expect(codeOf(() => packGgml(withParts(q, { zeros: tensor(new Int8Array(2), [2, 1]) })))).toBe('UNSUPPORTED');
    expect(codeOf(() => packGgml(withParts(q, { groupIndex: new Uint32Array(blockSize) })))).toBe('UNSUPPORTED');
    expect(codeOf(() => packGgml(withParts(q, { channelScale: new Float32Array(blockSize) })))).toBe('UNSUPPORTED');
    expect(codeOf(() => packGgml(withParts(q, { globalScale: 2 })))).toBe('UNSUPPORTED');
    expect(packGgml(withParts(q, { globalScale: 1 }))).toEqual(packGgml(q));
    const rotated = { ...q, scheme: { ...q.scheme, input: [{ type: 'hadamard' }] } };
    expect(codeOf(() => packGgml(rotated))).toBe('UNSUPPORTED');
  });
});

describe('packGgml', () => {
  const affine: QuantizedTensor = {
    kind: 'quantized',
    shape: [2, 32],
    scheme: {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits: 4, signed: true, symmetric: true },
      granularity: { type: 'group', axis: 1, size: 32 },
    },
    parts: {
      codes: tensor(
        Int8Array.from({ length: 64 }, (_, i) => (i % 16) - 8),
        [2, 32],
      ),
      scales: tensor(Float32Array.of(0.5, -0.25), [2, 1]),
    },
  };

  it('takes a plain affine tensor of the same grid and groups, when told the type', () => {
    const packed = packGgml(affine, 'Q4_0');
    expect(q4_0.decode(packed)).toEqual(dequantize(affine));
    expect(codeOf(() => packGgml(affine))).toBe('UNSUPPORTED');
    expect(codeOf(() => packGgml(affine, 'Q5_0'))).toBe('UNSUPPORTED');
    expect(codeOf(() => packGgml(affine, 'Q4_K'))).toBe('SHAPE');
  });

  it('takes scales in any float type, but only values that f16 holds', () => {
    const expected = packGgml(affine, 'Q4_0');
    expect(packGgml(withParts(affine, { scales: tensor(Float64Array.of(0.5, -0.25), [2, 1]) }), 'Q4_0')).toEqual(
      expected,
    );
    expect(packGgml(withParts(affine, { scales: encode([0.5, -0.25], 'bf16', [2, 1]) }), 'Q4_0')).toEqual(expected);
    for (const value of [0.1, 1e-9, 65520, 1 + 2 ** -40]) {
      const scales = tensor(Float64Array.of(0.5, value), [2, 1]);
      expect(codeOf(() => packGgml(withParts(affine, { scales }), 'Q4_0'))).toBe('RANGE');
    }
    const wide = encode([0.5, -0.25], 'f64', [2, 1]);
    expect(codeOf(() => packGgml(withParts(affine, { scales: wide }), 'Q4_0'))).toBe('DTYPE');
  });

  it('keeps the sign of zero in scales and offsets', () => {
    const packed = randomBlocks('Q4_K', 1, 256, 4);
    for (const [d, dmin] of [
      [0x8000, 0x0000],
      [0x0000, 0x8000],
    ]) {
      packed.bytes.set([d & 255, d >> 8, dmin & 255, dmin >> 8]);
      expect(q4_K.pack(q4_K.unpack(packed)).bytes).toEqual(packed.bytes);
    }
  });

  it('wants the scales of K types quantized', () => {
    const q = unpackGgml(randomBlocks('Q6_K', 1, 256, 4));
    const scales = tensor(new Float32Array(16), [1, 16]);
    expect(codeOf(() => packGgml(withParts(q, { scales })))).toBe('UNSUPPORTED');
    if (q.parts.scales?.kind !== 'quantized') throw new Error('quantized scales only');
    const nested = withParts(q.parts.scales, {
      codes: tensor(
        Int16Array.from({ length: 16 }, () => 128),
        [1, 16],
      ),
    });
    expect(codeOf(() => packGgml(withParts(q, { scales: nested })))).toBe('RANGE');
  });

  it('refuses plain element types', () => {
    expect(codeOf(() => unpackGgml(encode([1, 2], 'f16', [1, 2])))).toBe('DTYPE');
  });
});
