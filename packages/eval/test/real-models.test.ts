import { compare, compareMany, PROTOCOLS, transformerLogits } from '@halftone/eval';
import { fullCache } from '@halftone/kv-cache';
import { planGainFold } from '@halftone/norms';
import { tensor } from '@halftone/tensor';
import { createModel, kvShape } from '@halftone/transformer';
import { describe, expect, it } from 'vitest';
import {
  createEdited,
  goldenTokens,
  hasModels,
  heldOutTokens,
  largestDifference,
  linearsOf,
  logits,
  needsModels,
  openTestModel,
  readTensors,
} from './real-models.js';

describe.skipIf(!hasModels)(`wren-5m${needsModels}`, () => {
  it('gives the same through a cache and in small blocks of logits', async () => {
    const source = await openTestModel('wren-5m');
    const model = await createModel(source);
    const cached = transformerLogits(model, {
      createCache: () => fullCache(kvShape(source.config)),
      maxBlockLogits: 20 * source.config.vocabSize,
    });
    const protocol = { ...PROTOCOLS['llama.cpp'], window: 64 };
    const tokens = heldOutTokens(source, 1000);
    const report = await compare(transformerLogits(model), cached, tokens, protocol, { maxWindows: 2 });
    expect(report.scoredTokens).toBe(62);
    expect(report.kl.max).toBeLessThan(1e-6);
    expect(report.sameTop1).toBe(1);
    await model.dispose();
    await source.close();
  });

  it('loses more with fewer bits', async () => {
    const source = await openTestModel('wren-5m');
    const read = readTensors(source);
    const linears = new Set(linearsOf(source.graph).map((linear) => linear.weight));
    const rounded = (bits: number) =>
      createModel(source, {
        weights: async (name) => {
          const weight = linears.has(name) ? await read(name) : undefined;
          return weight && tensor(roundRows(weight.data, weight.shape[1], bits), weight.shape);
        },
      });
    const models = [await createModel(source), await rounded(8), await rounded(6), await rounded(4)];
    const [base, ...others] = models.map((model) => transformerLogits(model));
    const protocol = { ...PROTOCOLS.disjoint, window: 64 };
    const reports = await compareMany(base, others, heldOutTokens(source, 2000), protocol, { maxWindows: 2 });
    const [eight, six, four] = reports.map(({ kl }) => kl.mean);
    expect(eight).toBeGreaterThan(0);
    expect(six).toBeGreaterThan(eight);
    expect(four).toBeGreaterThan(six);
    expect(reports[2].sameTop1).toBeLessThan(reports[0].sameTop1);
    await Promise.all(models.map((model) => model.dispose()));
    await source.close();
  });
});

describe.skipIf(!hasModels)(`folds on real models${needsModels}`, () => {
  it('wren-5m with all gains folded gives the same logits', async () => {
    const source = await openTestModel('wren-5m');
    const plan = planGainFold(source.graph, { untieHead: 'lm_head.weight' });
    expect(plan.report.map(({ legal }) => legal)).toEqual(Array(9).fill(true));
    const tokens = await goldenTokens('wren-5m');
    const before = await logits(await createModel(source), tokens);
    expect(largestDifference(await logits(await createEdited(source, [plan]), tokens), before)).toBeLessThan(1e-3);
    await source.close();
  });
});

/** Rounds each row to symmetric integers of so many bits. */
function roundRows(values: Float32Array, columns: number, bits: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let start = 0; start < values.length; start += columns) {
    let largest = 0;
    for (let i = start; i < start + columns; i++) largest = Math.max(largest, Math.abs(values[i]));
    const scale = largest / (2 ** (bits - 1) - 1);
    for (let i = start; i < start + columns; i++) out[i] = scale === 0 ? 0 : Math.round(values[i] / scale) * scale;
  }
  return out;
}
