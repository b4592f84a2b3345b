import { isHalftoneError } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { ggmlBlockInfo, ggmlDequantize, ggmlQuantize, ggmlQuantizeRef, oracleAvailable } from '../src/index.js';

const title = (name: string): string =>
  oracleAvailable() ? name : `${name} (skipped: llama.cpp libraries not installed)`;
const wave = (length: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => Math.sin(i * 0.7) * (1 + (i % 13)));

describe.skipIf(!oracleAvailable())(title('ggml block encoders and decoders'), () => {
  it('report their geometry', () => {
    expect(ggmlBlockInfo('Q4_K')).toEqual({
      blockSize: 256,
      blockBytes: 144,
      requiresImportance: false,
    });
    expect(ggmlBlockInfo('IQ2_XXS').requiresImportance).toBe(true);
  });

  it('decode what they encode, more closely with more bits', () => {
    const values = wave(1024);
    const error = (type: 'Q2_K' | 'Q4_K' | 'Q6_K' | 'Q8_0'): number => {
      const decoded = ggmlDequantize(type, ggmlQuantize(type, values, 2, 512), 1024);
      return decoded.reduce((sum, value, i) => sum + (value - values[i]) ** 2, 0);
    };
    expect(error('Q8_0')).toBeLessThan(error('Q6_K'));
    expect(error('Q6_K')).toBeLessThan(error('Q4_K'));
    expect(error('Q4_K')).toBeLessThan(error('Q2_K'));
  });

  it('agree with the reference encoder where no importances are given', () => {
    const values = wave(512);
    for (const type of ['Q4_0', 'Q4_1', 'Q5_0', 'Q8_0', 'Q6_K'] as const) {
      expect(ggmlQuantize(type, values, 2, 256)).toEqual(ggmlQuantizeRef(type, values, 2, 256));
    }
  });

  it('use importances', () => {
    const values = wave(256);
    const imatrix = Float32Array.from({ length: 256 }, (_, i) => (i < 8 ? 100 : 0.01));
    expect(ggmlQuantize('Q4_K', values, 1, 256, imatrix)).not.toEqual(ggmlQuantize('Q4_K', values, 1, 256));
  });

  it('refuse what would abort the process', () => {
    const codeOf = (call: () => unknown): string => {
      try {
        call();
      } catch (error) {
        if (isHalftoneError(error)) return error.code;
        throw error;
      }
      return 'none';
    };
    expect(codeOf(() => ggmlQuantize('Q4_K', wave(128), 1, 128))).toBe('SHAPE');
    expect(codeOf(() => ggmlQuantize('IQ2_XXS', wave(256), 1, 256))).toBe('UNSUPPORTED');
    expect(codeOf(() => ggmlQuantize('Q4_K', wave(256), 1, 256, new Float32Array(256)))).toBe('RANGE');
    expect(codeOf(() => ggmlQuantize('Q4_0', new Float32Array(32).fill(Number.NaN), 1, 32))).toBe('RANGE');
    expect(codeOf(() => ggmlDequantize('Q4_K', new Uint8Array(143), 256))).toBe('SHAPE');
    expect(codeOf(() => ggmlQuantizeRef('IQ1_S', wave(256), 1, 256))).toBe('UNSUPPORTED');
  });
});
