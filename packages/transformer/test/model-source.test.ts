import type { Checkpoint, LazyTensor } from '@halftone/tensor';
import { isHalftoneError } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { createModel, modelSource, type TokenizerFiles } from '../src/index.js';
import { memoryCheckpoint, randomWeights, TINY, tinySource, type Weight } from './tiny-models.js';

function refusal(weights: Map<string, Weight>, config: object = TINY.llama, tokenizer?: TokenizerFiles): string {
  return refusalOf(memoryCheckpoint(weights), config, tokenizer);
}

function refusalOf(checkpoint: Checkpoint, config: object, tokenizer?: TokenizerFiles): string {
  try {
    modelSource({ configJson: config as Record<string, unknown>, checkpoint, tokenizer });
  } catch (error) {
    if (isHalftoneError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'accepted';
}

const vocabulary = (size: number, added: object[] = []): TokenizerFiles => ({
  tokenizerJson: {
    model: { type: 'BPE', vocab: Object.fromEntries(Array.from({ length: size }, (_, i) => [`t${i}`, i])) },
    added_tokens: added,
  },
});

describe('modelSource', () => {
  it('lists missing tensors', () => {
    const weights = randomWeights(TINY.llama);
    weights.delete('model.layers.1.mlp.down_proj.weight');
    weights.delete('model.layers.2.self_attn.q_proj.bias');
    expect(refusal(weights)).toMatch(
      /^FORMAT .*lacks model\.layers\.1\.mlp\.down_proj\.weight, model\.layers\.2\.self_attn\.q_proj\.bias/,
    );
    expect(refusal(new Map())).toMatch(/^FORMAT .*and \d+ more/);
  });

  it('lists wrong shapes', () => {
    const weights = randomWeights(TINY.llama);
    weights.set('model.norm.weight', { shape: [25], values: new Float32Array(25) });
    expect(refusal(weights)).toMatch(/^SHAPE .*model\.norm\.weight is \[25\], expected \[24\]/);
    // A [out, in] weight where Conv1D's [in, out] belongs.
    const gpt2 = randomWeights(TINY.gpt2);
    gpt2.set('transformer.h.0.attn.c_attn.weight', { shape: [60, 20], values: new Float32Array(1200) });
    expect(refusal(gpt2, TINY.gpt2)).toMatch(/^SHAPE .*c_attn\.weight is \[60,20\], expected \[20,60\]/);
  });

  it('says when the weights are packed', () => {
    const weights = randomWeights(TINY.llama);
    const name = 'model.layers.0.mlp.up_proj.weight';
    weights.set(name.replace('weight', 'qweight'), weights.get(name) as Weight);
    weights.delete(name);
    expect(refusal(weights)).toMatch(/^FORMAT .*packed quantized weights/);
    const { source } = tinySource(TINY.llama);
    const tensors = new Map(source.checkpoint.tensors);
    tensors.set(name, { ...(tensors.get(name) as LazyTensor), dtype: 'i8' });
    expect(refusalOf({ ...source.checkpoint, tensors }, TINY.llama)).toMatch(/^UNSUPPORTED .*up_proj\.weight is i8/);
  });

  it('ignores tensors that the graph does not use', () => {
    const weights = randomWeights(TINY.gpt2);
    weights.set('transformer.h.0.attn.bias', { shape: [1, 1, 2, 2], values: new Float32Array(4) });
    weights.set('lm_head.weight', { shape: [1], values: new Float32Array(1) });
    expect(refusal(weights, TINY.gpt2)).toBe('accepted');
  });

  it('refuses a tokenizer with ids beyond the embedding, not one that is smaller', () => {
    const weights = randomWeights(TINY.llama);
    expect(refusal(weights, TINY.llama, vocabulary(61))).toBe('accepted');
    expect(refusal(weights, TINY.llama, vocabulary(50))).toBe('accepted');
    expect(refusal(weights, TINY.llama, vocabulary(62))).toMatch(/^FORMAT .*id 61 \("t61"\).*61 embeddings/);
    expect(refusal(weights, TINY.llama, vocabulary(61, [{ id: 61, content: '<|im_end|>' }]))).toMatch(
      /^FORMAT .*<\|im_end\|>/,
    );
    expect(refusal(weights, TINY.llama, { tokenizerJson: { model: { vocab: new Array(62).fill(['a', 0]) } } })).toMatch(
      /^FORMAT .*id 61/,
    );
    expect(refusal(weights, TINY.llama, { tokenizerJson: {} })).toMatch(/^FORMAT/);
  });

  it('takes Conv1D weights that are stored [out, in] already', async () => {
    const { source, weights } = tinySource(TINY.gpt2);
    expect(source.weightsTransposed).toBe(true);
    const turned = new Map(
      [...weights].map(([name, weight]) => {
        if (!/(attn|mlp)\.c_\w+\.weight$/.test(name)) return [name, weight];
        const [rows, columns] = weight.shape;
        const values = Float32Array.from(
          { length: rows * columns },
          (_, i) => weight.values[(i % rows) * columns + Math.floor(i / rows)],
        );
        return [name, { shape: [columns, rows], values }];
      }),
    );
    const plain = modelSource({ configJson: TINY.gpt2, checkpoint: memoryCheckpoint(turned), conv1dTransposed: false });
    expect(plain.weightsTransposed).toBe(false);
    const tokens = [4, 8, 15, 16, 23, 42];
    const [expected, actual] = [await createModel(source), await createModel(plain)];
    expect((await actual.forward(tokens)).data).toEqual((await expected.forward(tokens)).data);
  });

  it.each(Object.keys(TINY) as (keyof typeof TINY)[])(
    '%s: the graph names its tensors once, and its edges meet',
    (name) => {
      const { source, weights } = tinySource(TINY[name]);
      const { graph } = source;
      expect(new Set(weights.keys()).size).toBe(source.checkpoint.tensors.size);
      for (const block of graph.blocks) {
        const names = [...block.norms, ...block.linears].map((node) => node.name);
        expect(new Set(names).size).toBe(names.length);
        const written = new Set([
          'residual',
          'attention.context',
          'mlp.hidden',
          ...[...block.norms, ...block.linears].map((node) => node.output),
        ]);
        const read = new Set([...block.otherReaders, ...[...block.norms, ...block.linears].map((node) => node.input)]);
        expect(read).toEqual(written);
        for (const writer of block.residualWriters)
          expect(block.linears.find((node) => node.name === writer)?.outFeatures).toBe(source.config.hiddenSize);
        for (const { heads, inFeatures, outFeatures } of block.linears) {
          if (heads !== undefined) expect(heads.count * heads.size).toBe(heads.axis === 0 ? outFeatures : inFeatures);
        }
      }
    },
  );
});
