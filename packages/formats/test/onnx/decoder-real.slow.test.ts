import { describe, it } from 'vitest';
import { hasSharedModels } from '../support/shared.js';
import { expectQuantizedWren } from './real-decoders.js';
import { RUNTIMES } from './runtimes.js';

describe.skipIf(!hasSharedModels)('wren-5m quantized, in both runtimes (needs the shared models)', () => {
  it.each([
    { bits: 2, mode: 'matmul-nbits', symmetry: 'asymmetric' },
    { bits: 4, mode: 'matmul-nbits', symmetry: 'asymmetric' },
    { bits: 4, mode: 'qdq', symmetry: 'full-range' },
    { bits: 8, mode: 'matmul-nbits', symmetry: 'full-range' },
    { bits: 8, mode: 'qdq', symmetry: 'asymmetric' },
  ] as const)('has the logits of its decoded weights: $bits bits, $mode, $symmetry', async (quantization) => {
    await expectQuantizedWren(RUNTIMES, quantization);
  });
});
