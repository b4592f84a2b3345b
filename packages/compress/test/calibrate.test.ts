import { tensor } from '@halftone/tensor';
import { createModel, referenceBackend } from '@halftone/transformer';
import { describe, expect, it } from 'vitest';
import { calibrate, calibrationSequences, startCalibration } from '../src/calibrate.js';
import { TINY_CONFIG, tinyModel } from './tiny-model.js';

const sequences = [0, 1, 2].map((seed) => Int32Array.from({ length: 20 }, (_, i) => (i * 131 + seed * 977) % 8192));

/** Every input that a linear layer gets in ordinary forward passes. */
async function tappedInputs(): Promise<Map<string, Float32Array[]>> {
  const source = tinyModel();
  const model = await createModel(source, { backend: referenceBackend() });
  const inputs = new Map<string, Float32Array[]>();
  for (const tokens of sequences) {
    await model.forward(tokens, {
      taps: {
        onLinearInput(block, linear, x, rows) {
          const node = source.graph.blocks[block]?.linears.find(({ name }) => name === linear);
          if (!node) return;
          const list = inputs.get(node.weight) ?? [];
          list.push(x.slice(0, rows * node.inFeatures));
          inputs.set(node.weight, list);
        },
      },
    });
  }
  await model.dispose();
  return inputs;
}

describe('calibrate', () => {
  it('collects, block by block, what ordinary forward passes feed to each linear', async () => {
    const backend = referenceBackend();
    const statistics = await calibrate(tinyModel(), { sequences, needs: ['inputSquares', 'hessian'], backend });
    const inputs = await tappedInputs();
    expect([...statistics.keys()].sort()).toEqual([...inputs.keys()].sort());
    for (const [weight, arrays] of inputs) {
      const { tokens, inputSquares = [], hessian = [] } = statistics.get(weight) ?? { tokens: 0 };
      expect(tokens).toBe(60);
      const features = inputSquares.length;
      for (const channel of [0, 7, features - 1]) {
        let sum = 0;
        for (const x of arrays) for (let i = channel; i < x.length; i += features) sum += x[i] ** 2;
        expect(inputSquares[channel]).toBeCloseTo(sum / 60, 6);
        expect(hessian[channel * features + channel]).toBeCloseTo(inputSquares[channel], 6);
      }
    }
  });

  it('advances with replaced weights, so that later blocks see what quantization did', async () => {
    const options = { sequences, needs: ['inputSquares'] as const, backend: referenceBackend() };
    const original = await startCalibration(tinyModel(), options);
    await original.collectAndAdvance();
    const changed = await startCalibration(tinyModel(), options);
    const first = await changed.collect();
    expect(changed.position).toBe(0);
    await changed.advance((name) =>
      name.endsWith('mlp.down_proj.weight') ? tensor(new Float32Array(256 * 512), [256, 512]) : undefined,
    );
    const weight = 'model.layers.1.self_attn.q_proj.weight';
    const [a, b] = [await original.collect(), await changed.collect()];
    expect(first.has('model.layers.0.self_attn.q_proj.weight')).toBe(true);
    expect(a.get(weight)?.inputSquares).not.toEqual(b.get(weight)?.inputSquares);
  });

  it('refuses what it cannot run', async () => {
    const start = (lists: Int32Array[]) =>
      startCalibration(tinyModel(), { sequences: lists, needs: [], backend: referenceBackend() });
    await expect(start([])).rejects.toThrow(/no calibration sequences/);
    await expect(start([new Int32Array(TINY_CONFIG.max_position_embeddings + 1)])).rejects.toThrow(/context is 64/);
    expect(() => calibrationSequences(new Int32Array(9), 10)).toThrow(/fewer than one sequence/);
    expect(calibrationSequences(new Int32Array(35), 10, 25).map(({ length }) => length)).toEqual([10, 10]);
  });
});
