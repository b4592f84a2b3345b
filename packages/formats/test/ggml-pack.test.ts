import {
  dequantize,
  encode,
  GGML_TYPES,
  type GgmlType,
  type Grid,
  HalftoneError,
  packCodes,
  type QuantizedParts,
  type QuantizedTensor,
  tensor,
  unpackCodes,
} from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { validateQuantized } from '@halftone/tensor/validate';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GGML_CODECS, packGgml, q4_0, q4_K, unpackGgml } from '../src/ggml/index.js';
import { canonicalBytes, randomBlocks, replaceNanScales } from './ggml-blocks.js';

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

/** The codes of a grid, by its definition. */
function codeRange({ scheme: { grid }, parts }: QuantizedTensor): {
  bits: number;
  signed: boolean;
  lowest: number;
  highest: number;
} {
  if (grid.type === 'lookup') {
    const entries = (parts.codebook?.data.length ?? 0) / grid.vectorLength;
    return { bits: grid.bits, signed: false, lowest: 0, highest: entries - 1 };
  }
  const bits = grid.type === 'float' ? 1 + grid.exponent + grid.mantissa : grid.bits;
  const signed = grid.type === 'affine' && grid.signed;
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  return { bits, signed, lowest, highest: lowest + 2 ** bits - 1 };
}

function withParts(q: QuantizedTensor, parts: Partial<QuantizedParts>): QuantizedTensor {
  return { ...q, parts: { ...q.parts, ...parts } };
}

describe.each(TYPES)('%s', (type) => {
  const { blockSize, blockBytes } = GGML_TYPES[type];

  it('packs what it unpacks to the same bytes, or to those that an encoder would have written', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.infiniteStream(fc.integer({ min: 0, max: 255 })),
        (rows, blocks, stream) => {
          const bytes = Uint8Array.from({ length: rows * blocks * blockBytes }, () => stream.next().value);
          replaceNanScales(type, bytes);
          const packed = { kind: 'packed', dtype: type, shape: [rows, blocks * blockSize], bytes } as const;
          const q = unpackGgml(packed);
          expect(q.scheme).toBe(GGML_SCHEMES[type]);
          validateQuantized(q);
          dequantize(q);
          expect(packGgml(q)).toEqual({ ...packed, bytes: canonicalBytes(packed) });
        },
      ),
      { numRuns: 30 },
    );
  });

  it('packs densely packed or wider codes and signs too', () => {
    const packed = randomBlocks(type, 2, blockSize, 9);
    const q = unpackGgml(packed);
    const { bits, signed } = codeRange(q);
    const { shape } = q.parts.codes;
    const values = unpackCodes(q.parts.codes);
    const signs = q.parts.signs && packCodes(unpackCodes(q.parts.signs), 1, false, q.shape);
    const codes = bits > 8 ? tensor(Int16Array.from(values), shape) : packCodes(values, bits, signed, shape);
    expect(packGgml(withParts(q, { codes, signs })).bytes).toEqual(canonicalBytes(packed));
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
    const { lowest, highest } = codeRange(q);
    const { shape } = q.parts.codes;
    for (const code of [lowest - 1, highest + 1, 32767]) {
      const beyond = Int16Array.from(unpackCodes(q.parts.codes));
      beyond[5] = code;
      expect(codeOf(() => packGgml(withParts(q, { codes: tensor(beyond, shape) })))).toBe('RANGE');
    }
    const short = tensor(new Int8Array(shape[1]), [1, shape[1]]);
    expect(codeOf(() => packGgml(withParts(q, { codes: short })))).toBe('SHAPE');
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
    if (q.parts.codebook === undefined) {
      const codebook = tensor(Float32Array.of(-1, 0, 1), [3, 1]);
      expect(codeOf(() => packGgml(withParts(q, { codebook })))).toBe('UNSUPPORTED');
    }
    if (q.parts.signs === undefined) {
      const signs = tensor(new Uint8Array(2 * blockSize), q.shape);
      expect(codeOf(() => packGgml(withParts(q, { signs })))).toBe('UNSUPPORTED');
    }
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
    const whole = { scales: tensor(Float32Array.of(2, -3), [2, 1]) };
    const big = { scales: tensor(BigInt64Array.of(2n, -3n), [2, 1]) };
    expect(packGgml(withParts(affine, big), 'Q4_0')).toEqual(packGgml(withParts(affine, whole), 'Q4_0'));
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

describe.each(TYPES.filter((type) => GGML_SCHEMES[type].grid.type === 'lookup'))('%s: a lookup', (type) => {
  const { blockSize } = GGML_TYPES[type];
  const q = unpackGgml(randomBlocks(type, 2, blockSize, 1));
  const grid = q.scheme.grid as Extract<Grid, { type: 'lookup' }>;

  it('takes only the codebook of ggml', () => {
    const { codebook } = q.parts;
    if (codebook === undefined) throw new Error('lookups have a codebook');
    const other = tensor(codebook.data.slice(), codebook.shape);
    expect(packGgml(withParts(q, { codebook: other }))).toEqual(packGgml(q));
    other.data[3 % other.data.length] += 1;
    expect(codeOf(() => packGgml(withParts(q, { codebook: other })))).toBe('RANGE');
    const longer = tensor(new Float32Array(codebook.data.length + grid.vectorLength), [
      codebook.shape[0] + 1,
      grid.vectorLength,
    ]);
    expect(codeOf(() => packGgml(withParts(q, { codebook: longer })))).toBe('RANGE');
    expect(codeOf(() => packGgml(withParts(q, { codebook: undefined })))).toBe('SHAPE');
  });

  it('gives a codebook of its own at each call', () => {
    const other = unpackGgml(randomBlocks(type, 2, blockSize, 1));
    expect(other.parts.codebook?.data).toEqual(q.parts.codebook?.data);
    expect(other.parts.codebook?.data).not.toBe(q.parts.codebook?.data);
  });

  it('refuses other grids of lookups', () => {
    const others: Grid[] = [
      { ...grid, bits: grid.bits + 1 },
      { ...grid, vectorLength: grid.vectorLength * 2 },
      { ...grid, stages: 2 },
      { ...grid, signs: !grid.signs },
      { type: 'affine', bits: grid.bits, signed: false, symmetric: true },
    ];
    for (const other of others) {
      const scheme = { ...q.scheme, grid: other };
      expect(codeOf(() => packGgml({ ...q, scheme }))).toBe('UNSUPPORTED');
    }
  });

  it('takes only the scales that the blocks can look up', () => {
    const { scales } = q.parts;
    if (scales?.kind !== 'quantized' || scales.scheme.grid.type !== 'lookup') return;
    const { codebook } = scales.parts;
    if (codebook === undefined) throw new Error('lookups have a codebook');
    const pack = (parts: Partial<QuantizedParts>) => () => packGgml(withParts(q, { scales: withParts(scales, parts) }));
    expect(
      codeOf(
        pack({
          codebook: tensor(
            codebook.data.map((value) => 2 * value),
            codebook.shape,
          ),
        }),
      ),
    ).toBe('RANGE');
    expect(codeOf(pack({ codebook: undefined }))).toBe('SHAPE');
    const codes = Uint8Array.from(unpackCodes(scales.parts.codes));
    codes[1] = codebook.data.length;
    expect(codeOf(pack({ codes: tensor(codes, scales.shape) }))).toBe('RANGE');
  });
});

describe('what blocks cannot say', () => {
  it.each(['IQ2_XXS', 'IQ2_XS', 'IQ3_XXS'] as const)('%s: an odd number of minus signs among 8 elements', (type) => {
    const q = unpackGgml(randomBlocks(type, 1, 512, 3));
    for (const flips of [[0], [7], [17], [511], [8, 16], [3, 4, 5]]) {
      const signs = Uint8Array.from(unpackCodes(q.parts.signs as NonNullable<QuantizedParts['signs']>));
      for (const at of flips) signs[at] ^= 1;
      expect(codeOf(() => packGgml(withParts(q, { signs: tensor(signs, q.shape) })))).toBe('RANGE');
    }
  });

  it.each(['IQ2_XXS', 'IQ2_XS', 'IQ2_S', 'IQ3_XXS', 'IQ3_S'] as const)(
    '%s: signs that are missing, misshapen or no bits',
    (type) => {
      const q = unpackGgml(randomBlocks(type, 2, 256, 1));
      const pack = (signs: QuantizedParts['signs']) => () => packGgml(withParts(q, { signs }));
      expect(codeOf(pack(undefined))).toBe('SHAPE');
      expect(codeOf(pack(tensor(new Uint8Array(256), [1, 256])))).toBe('SHAPE');
      expect(codeOf(pack(tensor(new Uint8Array(512).fill(2), q.shape)))).toBe('RANGE');
    },
  );

  it.each(['IQ2_S', 'IQ3_S'] as const)('%s: any signs will do', (type) => {
    const q = unpackGgml(randomBlocks(type, 1, 512, 3));
    const signs = Uint8Array.from({ length: 512 }, (_, i) => (i * i + (i >> 3)) & 1);
    const changed = withParts(q, { signs: tensor(signs, q.shape) });
    expect(unpackGgml(packGgml(changed))).toEqual(changed);
  });

  it('IQ1_S: eighths of both signs in a group of 32, which IQ1_M has', () => {
    const [s, m] = (['IQ1_S', 'IQ1_M'] as const).map((type) => {
      const q = unpackGgml(randomBlocks(type, 1, 256, 3));
      const codes = Uint16Array.from(unpackCodes(q.parts.codes));
      codes[6] ^= 2048;
      return withParts(q, { codes: tensor(codes, q.parts.codes.shape) });
    });
    expect(codeOf(() => packGgml(s))).toBe('RANGE');
    expect(unpackGgml(packGgml(m))).toEqual(m);
  });

  it('MXFP4: scales that are no powers of two', () => {
    const q = unpackGgml(randomBlocks('MXFP4', 1, 64, 3));
    const pack =
      (...scales: number[]) =>
      () =>
        packGgml(withParts(q, { scales: tensor(Float32Array.from(scales), [1, 2]) }));
    expect([pack(2 ** -127, 2 ** 127)().bytes[0], pack(2 ** -127, 2 ** 127)().bytes[17]]).toEqual([0, 254]);
    for (const scale of [3, -1, 0, -0, 2 ** -128, Infinity, NaN]) expect(codeOf(pack(1, scale))).toBe('RANGE');
    const nan = { kind: 'packed', dtype: 'f8_e8m0', shape: [1, 2], bytes: Uint8Array.of(127, 255) } as const;
    expect(codeOf(() => packGgml(withParts(q, { scales: nan })))).toBe('RANGE');
  });

  it('NVFP4: scales that are no unsigned E4M3', () => {
    const q = unpackGgml(randomBlocks('NVFP4', 1, 64, 3));
    const pack =
      (...scales: number[]) =>
      () =>
        packGgml(withParts(q, { scales: tensor(Float32Array.from(scales), [1, 4]) }));
    expect([...pack(0, 2 ** -9, 448, 1.125)().bytes.subarray(0, 4)]).toEqual([0, 1, 0x7e, 0x39]);
    for (const scale of [-1, -0, 449, 480, 2 ** -10, 1.01, Infinity, NaN])
      expect(codeOf(pack(1, 1, scale, 1))).toBe('RANGE');
    for (const byte of [0x7f, 0x80, 0xff]) {
      const scales = { kind: 'packed', dtype: 'f8_e4m3', shape: [1, 4], bytes: Uint8Array.of(1, byte, 1, 1) } as const;
      expect(codeOf(() => packGgml(withParts(q, { scales })))).toBe('RANGE');
    }
  });

  it('bytes that ggml reads as a number and the 8-bit float as NaN', () => {
    for (const [type, at] of [
      ['MXFP4', 17],
      ['NVFP4', 39],
    ] as const) {
      const packed = randomBlocks(type, 1, 256, 3);
      packed.bytes[at] = 0xff;
      expect(codeOf(() => unpackGgml(packed))).toBe('RANGE');
      expect(() => unpackGgml(packed)).toThrow('block 1');
    }
  });

  it('the code of 2 in TQ1_0, which TQ2_0 has', () => {
    const two = unpackGgml(randomBlocks('TQ2_0', 1, 256, 3));
    const one = unpackGgml(randomBlocks('TQ1_0', 1, 256, 3));
    expect(codeOf(() => packGgml(withParts(one, { codes: two.parts.codes })))).toBe('RANGE');
  });
});
