import { packBits, packCodes, packedByteLength, rowByteLength, unpackBits, unpackCodes } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const codesOfBits = fc.integer({ min: 1, max: 8 }).chain((bits) =>
  fc.boolean().chain((signed) => {
    const lowest = signed ? -(2 ** (bits - 1)) : 0;
    const code = fc.integer({ min: lowest, max: lowest + 2 ** bits - 1 });
    return fc.record({
      bits: fc.constant(bits),
      signed: fc.constant(signed),
      codes: fc.array(code, { maxLength: 70 }),
    });
  }),
);

describe('packBits and unpackBits', () => {
  it('are inverse', () => {
    fc.assert(
      fc.property(codesOfBits, ({ bits, signed, codes }) => {
        const bytes = packBits(codes, bits);
        expect(bytes).toHaveLength(Math.ceil((codes.length * bits) / 8));
        expect([...unpackBits(bytes, bits, codes.length, signed)]).toEqual(codes);
      }),
    );
  });

  it('lay codes low-first in one dense stream', () => {
    fc.assert(
      fc.property(codesOfBits, ({ bits, codes }) => {
        let stream = 0n;
        codes.forEach((code, i) => {
          stream |= BigInt.asUintN(bits, BigInt(code)) << BigInt(i * bits);
        });
        const expected = Array.from({ length: Math.ceil((codes.length * bits) / 8) }, (_, i) =>
          Number((stream >> BigInt(8 * i)) & 0xffn),
        );
        expect([...packBits(codes, bits)]).toEqual(expected);
      }),
    );
    expect([...packBits([1, 2, 3, 15], 4)]).toEqual([0x21, 0xf3]);
    expect([...packBits([7, 0, 1], 3)]).toEqual([0b01000111, 0]);
  });

  it('write into given memory', () => {
    const bytes = new Uint8Array(3).fill(255);
    expect(packBits([1, 2], 4, bytes)).toBe(bytes);
    expect([...bytes]).toEqual([0x21, 255, 255]);
    const out = new Int8Array(2);
    expect(unpackBits(bytes, 4, 2, true, out)).toBe(out);
    expect([...out]).toEqual([1, 2]);
  });

  it('refuse what does not fit', () => {
    const range = expect.objectContaining({ code: 'RANGE' });
    expect(() => packBits([1], 9)).toThrow(range);
    expect(() => packBits([1, 2, 3], 4, new Uint8Array(1))).toThrow(range);
    expect(() => unpackBits(new Uint8Array(1), 4, 3, false)).toThrow(range);
    expect(() => unpackBits(new Uint8Array(1), 4, 2, false, new Uint8Array(1))).toThrow(range);
    expect(() => unpackBits(new Uint8Array(1), 4, -1, false)).toThrow(range);
  });
});

describe('packCodes and unpackCodes', () => {
  it('start each row on a byte', () => {
    fc.assert(
      fc.property(codesOfBits, fc.integer({ min: 1, max: 9 }), ({ bits, signed, codes }, columns) => {
        const rows = Math.floor(codes.length / columns);
        const kept = codes.slice(0, rows * columns);
        const packed = packCodes(kept, bits, signed, [rows, columns]);
        expect(packed.dtype).toBe(`${signed ? 'i' : 'u'}${bits}`);
        expect(packed.bytes).toHaveLength(packedByteLength(packed.dtype, packed.shape));
        expect([...unpackCodes(packed)]).toEqual(kept);
        const rowBytes = rowByteLength(packed.dtype, columns);
        for (let row = 0; row < rows; row++) {
          const alone = packBits(kept.slice(row * columns, (row + 1) * columns), bits);
          expect(packed.bytes.subarray(row * rowBytes, (row + 1) * rowBytes)).toEqual(alone);
        }
      }),
    );
  });

  it('read 16-bit words at odd addresses', () => {
    const bytes = new Uint8Array(9);
    bytes.set([1, 0, 255, 255], 3);
    const shape = [2];
    expect([...unpackCodes({ kind: 'packed', dtype: 'u16', shape, bytes: bytes.subarray(3, 7) })]).toEqual([1, 65535]);
    expect([...unpackCodes({ kind: 'packed', dtype: 'i16', shape, bytes: bytes.subarray(3, 7) })]).toEqual([1, -1]);
  });

  it('refuse codes out of range, wrong counts and what is not codes', () => {
    expect(() => packCodes([1, 16], 4, false, [2])).toThrow(/code 16 at element 1 is outside 0 .. 15/);
    expect(() => packCodes([-9], 4, true, [1])).toThrow(expect.objectContaining({ code: 'RANGE' }));
    expect(() => packCodes([Number.NaN], 4, true, [1])).toThrow(expect.objectContaining({ code: 'RANGE' }));
    expect(() => packCodes([1], 12, false, [1])).toThrow(expect.objectContaining({ code: 'RANGE' }));
    expect(() => packCodes([1], 4, false, [2])).toThrow(expect.objectContaining({ code: 'SHAPE' }));
    const dtype = expect.objectContaining({ code: 'DTYPE' });
    expect(() => unpackCodes({ kind: 'packed', dtype: 'f32', shape: [1], bytes: new Uint8Array(4) })).toThrow(dtype);
    expect(() => unpackCodes({ kind: 'packed', dtype: 'Q8_0', shape: [32], bytes: new Uint8Array(34) })).toThrow(dtype);
  });
});
