import { planGainFold, planLayerNormToRmsNorm } from '@halftone/norms';
import type { BlockGraph, ModelGraph } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import {
  editAll,
  forward,
  HIDDEN,
  largestDifference,
  randomTensors,
  type TinyOptions,
  tinyGraph,
} from './tiny-model.js';

const tokens = [3, 1, 4, 1, 5, 9];
const untieHead = 'lm_head.weight';

function changeBlock(graph: ModelGraph, index: number, change: Partial<BlockGraph>): ModelGraph {
  return { ...graph, blocks: graph.blocks.map((block) => (block.index === index ? { ...block, ...change } : block)) };
}

describe('planGainFold', () => {
  const shapes: [string, TinyOptions][] = [
    ['RMSNorm', { norm: 'rms', biases: false }],
    ['RMSNorm with linear biases', { norm: 'rms', biases: true }],
    ['LayerNorm', { norm: 'layer', biases: true }],
    ['LayerNorm over transposed weights', { norm: 'layer', biases: true, transposed: true }],
    ['tied head', { norm: 'layer', biases: true, tied: true }],
    ['query norm', { norm: 'rms', biases: false, queryNorm: true }],
  ];
  it.each(shapes)('keeps the function: %s', async (_, options) => {
    const graph = tinyGraph(options);
    const tensors = randomTensors(graph);
    const plan = planGainFold(graph, { untieHead });
    const edited = await editAll(tensors, plan.edits);
    const before = forward(graph, tensors, tokens);
    expect(largestDifference(forward(plan.graph, edited, tokens), before)).toBeLessThan(
      1e-5 * Math.max(...before.flat()),
    );
    for (const { norm, block, legal } of plan.report) {
      const node = block === undefined ? graph.finalNorm : graph.blocks[block].norms.find(({ name }) => name === norm);
      const gain = edited.get(node?.gain as string)?.data as Float32Array;
      expect(gain.every((value) => value === 1)).toBe(legal);
    }
    expect(tensors).toEqual(randomTensors(graph));
  });

  it('gives linears without a bias one, where the norm has a bias', async () => {
    const graph = tinyGraph({ norm: 'layer', biases: true });
    const plan = planGainFold(graph);
    expect(graph.head.bias).toBeUndefined();
    expect(plan.graph.head.bias).toBe('lm_head.bias');
    expect((await editAll(randomTensors(graph), plan.edits)).get('lm_head.bias')?.shape).toEqual([11]);
  });

  it('leaves query norms and a tied head alone, and says why', () => {
    const graph = tinyGraph({ norm: 'rms', biases: false, queryNorm: true, tied: true });
    const { report, edits } = planGainFold(graph);
    expect(report.filter(({ legal }) => !legal)).toEqual([
      {
        block: 0,
        norm: 'attention.queryNorm',
        readers: [],
        legal: false,
        reason: expect.stringMatching(/other than a linear/),
      },
      {
        block: 1,
        norm: 'attention.queryNorm',
        readers: [],
        legal: false,
        reason: expect.stringMatching(/other than a linear/),
      },
      { norm: 'final.norm', readers: ['head'], legal: false, reason: expect.stringMatching(/untie/) },
    ]);
    expect(edits.some(({ tensor }) => tensor === graph.embedding || tensor.includes('queryNorm'))).toBe(false);
    expect(report[0]).toEqual({ block: 0, norm: 'attention.norm', readers: ['attention.value'], legal: true });
  });

  it('refuses norms whose output or weights are used elsewhere', () => {
    const graph = tinyGraph({ norm: 'layer', biases: true });
    const [block] = graph.blocks;
    const reasonOf = (change: Partial<BlockGraph>) => planGainFold(changeBlock(graph, 0, change)).report[0].reason;
    expect(reasonOf({ otherReaders: ['attention.input'] })).toMatch(/other than a linear/);
    expect(reasonOf({ norms: [block.norms[0], { ...block.norms[1], input: 'attention.input' }] })).toMatch(
      /another norm/,
    );
    expect(reasonOf({ norms: [block.norms[0], { ...block.norms[1], output: 'attention.input' }] })).toMatch(
      /two norms/,
    );
    expect(reasonOf({ linears: block.linears.slice(1) })).toMatch(/no linear reads/);
    expect(reasonOf({ linears: block.linears.map((linear) => ({ ...linear, inFeatures: 3 })) })).toMatch(/3 inputs/);
    const weight = graph.blocks[1].linears[0].weight;
    expect(reasonOf({ linears: [{ ...block.linears[0], weight }, ...block.linears.slice(1)] })).toMatch(
      /more than one place/,
    );
  });
});

describe('planLayerNormToRmsNorm', () => {
  const shapes: [string, TinyOptions][] = [
    ['plain', { norm: 'layer', biases: false }],
    ['biases', { norm: 'layer', biases: true }],
    ['transposed weights', { norm: 'layer', biases: true, transposed: true }],
    ['tied head', { norm: 'layer', biases: true, tied: true }],
  ];
  it.each(shapes)('keeps the function: %s', async (_, options) => {
    const graph = tinyGraph(options);
    const tensors = randomTensors(graph);
    const plan = planLayerNormToRmsNorm(graph, { untieHead });
    expect(plan.report.every(({ legal }) => legal)).toBe(true);
    const norms = [...plan.graph.blocks.flatMap((block) => block.norms), plan.graph.finalNorm];
    expect(norms.every(({ kind, bias }) => kind === 'rms' && bias === undefined)).toBe(true);
    const edited = await editAll(tensors, plan.edits);
    const before = forward(graph, tensors, tokens);
    expect(largestDifference(forward(plan.graph, edited, tokens), before)).toBeLessThan(
      1e-5 * Math.max(...before.flat()),
    );
    expect([...edited.keys()].some((name) => name.endsWith('norm.bias'))).toBe(false);
  });

  it('composes with the gain fold, in either order', async () => {
    const graph = tinyGraph({ norm: 'layer', biases: true, transposed: true, tied: true });
    const tensors = randomTensors(graph);
    const before = forward(graph, tensors, tokens);
    for (const plans of [
      [planGainFold, planLayerNormToRmsNorm],
      [planLayerNormToRmsNorm, planGainFold],
    ]) {
      let current = { graph, tensors };
      for (const make of plans) {
        const plan = make(current.graph, { untieHead });
        expect(plan.report.every(({ legal }) => legal)).toBe(true);
        current = { graph: plan.graph, tensors: await editAll(current.tensors, plan.edits) };
      }
      const after = forward(current.graph, current.tensors, tokens);
      expect(largestDifference(after, before)).toBeLessThan(1e-5 * Math.max(...before.flat()));
      expect(current.tensors.get('0.mlp.norm.weight')?.data).toEqual(new Float32Array(HIDDEN).fill(1));
    }
  });

  it('converts what it can when one norm must stay', async () => {
    const graph = tinyGraph({ norm: 'layer', biases: true, queryNorm: true });
    // The query norm has as many features as the stream; with fewer it could not write to it.
    const narrow = (model: ModelGraph): ModelGraph => ({
      ...model,
      blocks: model.blocks.map((block) => ({
        ...block,
        norms: block.norms.map((norm) => (norm.name === 'attention.queryNorm' ? { ...norm, features: 3 } : norm)),
      })),
    });
    expect(planLayerNormToRmsNorm(graph).report[0].reason).toMatch(/may write to the residual stream/);
    const { report } = planLayerNormToRmsNorm(narrow(graph));
    expect(report.filter(({ legal }) => !legal).map(({ reason }) => reason)).toEqual(
      Array(2).fill('it does not read the residual stream'),
    );
  });

  it('refuses models whose residual stream cannot be centred, whole', () => {
    const graph = tinyGraph({ norm: 'layer', biases: true });
    const [block] = graph.blocks;
    const [attentionNorm, mlpNorm] = block.norms;
    const reasonOf = (model: ModelGraph) => {
      const plan = planLayerNormToRmsNorm(model);
      expect(plan.edits).toEqual([]);
      expect(plan.graph).toBe(model);
      expect(plan.report.every(({ legal }) => !legal)).toBe(true);
      return plan.report[0].reason;
    };
    expect(reasonOf(tinyGraph({ norm: 'rms', biases: false }))).toMatch(/block 0, attention.norm is an RMSNorm/);
    expect(reasonOf(tinyGraph({ norm: 'layer', biases: true, tied: true }))).toMatch(/untie/);
    expect(reasonOf(changeBlock(graph, 0, { residualWriters: [] }))).toMatch(/names no linear/);
    expect(reasonOf(changeBlock(graph, 0, { residualWriters: ['mlp.norm'] }))).toMatch(/is not a linear/);
    const postNorm = { ...mlpNorm, output: 'residual' };
    expect(reasonOf(changeBlock(graph, 0, { norms: [attentionNorm, postNorm] }))).toMatch(
      /writes to the residual stream/,
    );
    const periNorm = { ...mlpNorm, name: 'mlp.outputNorm', input: 'mlp.result', output: 'mlp.result.normed' };
    expect(reasonOf(changeBlock(graph, 0, { norms: [...block.norms, periNorm] }))).toMatch(
      /may write to the residual stream/,
    );
    const direct = block.linears.map((linear) =>
      linear.name === 'mlp.gate' ? { ...linear, input: 'residual' } : linear,
    );
    expect(reasonOf(changeBlock(graph, 0, { linears: direct }))).toMatch(/mlp.gate reads the residual stream/);
    const chained = block.linears.map((linear) =>
      linear.name === 'mlp.up' ? { ...linear, input: 'attention.result' } : linear,
    );
    expect(reasonOf(changeBlock(graph, 0, { linears: chained }))).toMatch(/attention.output is read by more/);
    expect(reasonOf({ ...graph, positionEmbedding: graph.embedding })).toMatch(/more than one place/);
  });
});
