import { plainBackend } from '@halftone/kernels-wasm';
import { fullCache } from '@halftone/kv-cache';
import { isHalftoneError, tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import {
  createModel,
  defaultBackend,
  kvShape,
  loadBlock,
  loadEmbedding,
  loadHead,
  modelSource,
  referenceBackend,
  type TransformerModel,
} from '../src/index.js';
import { plainLogits } from './plain-forward.js';
import { memoryCheckpoint, noise, randomWeights, TINY, tinySource } from './tiny-models.js';
import { worstDifference } from './worst-difference.js';

const names = Object.keys(TINY) as (keyof typeof TINY)[];

function randomTokens(count: number, vocabSize: number, start = 5): number[] {
  const next = noise(start);
  return Array.from({ length: count }, () => Math.floor(((next() + 1) / 2) * vocabSize));
}

async function failure(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (isHalftoneError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'no error';
}

describe.each(names)('%s', (name) => {
  const { source, weights } = tinySource(TINY[name]);
  const { vocabSize } = source.config;
  const tokens = randomTokens(43, vocabSize);

  it.each([referenceBackend, plainBackend, defaultBackend])(
    'agrees with the plain implementation on the backend of %s',
    async (backend) => {
      const model = await createModel(source, { backend: backend() });
      const expected = plainLogits(TINY[name], weights, tokens).flat();
      expect(worstDifference((await model.forward(tokens)).data, expected)).toBeLessThan(2e-5);
      await model.dispose();
    },
  );

  it('gives the same logits with a cache, in chunks, and token by token', async () => {
    const model = await createModel(source);
    const whole = (await model.forward(tokens)).data;
    for (const chunk of [tokens.length, 16, 7, 1]) {
      const cache = fullCache(kvShape(source.config));
      const parts: number[] = [];
      for (let at = 0; at < tokens.length; at += chunk) {
        parts.push(...(await model.forward(tokens.slice(at, at + chunk), { cache })).data);
      }
      expect(worstDifference(parts, whole)).toBeLessThan(1e-5);
      expect(cache.length(0, 0)).toBe(tokens.length);
    }
    await model.dispose();
  });

  it('gives the same logits for a tail of rows', async () => {
    const model = await createModel(source);
    const whole = (await model.forward(tokens)).data;
    const tail = await model.forward(tokens, { from: 40 });
    expect(tail.shape).toEqual([3, vocabSize]);
    expect(worstDifference(tail.data, whole.subarray(40 * vocabSize))).toBeLessThan(1e-6);
    await model.dispose();
  });

  it('never looks ahead', async () => {
    const model = await createModel(source);
    const before = (await model.forward(tokens)).data.slice(0, 20 * vocabSize);
    const changed = tokens.map((token, i) => (i < 20 ? token : (token + 1) % vocabSize));
    expect(worstDifference((await model.forward(changed)).data.slice(0, 20 * vocabSize), before)).toBe(0);
    await model.dispose();
  });

  it('runs block by block to the same logits', async () => {
    const backend = defaultBackend();
    const model = await createModel(source, { backend });
    const whole = (await model.forward(tokens)).data;
    await model.dispose();
    const positions = Int32Array.from(tokens.keys());
    const hidden = (await loadEmbedding(source)).embed(tokens);
    for (let index = 0; index < source.config.layers; index++) {
      const block = await loadBlock(source, index, backend);
      await block.run(hidden, { positions });
      block.dispose();
      expect(await failure(() => block.run(hidden, { positions }))).toMatch(/^DEVICE/);
    }
    const head = await loadHead(source, backend);
    expect(worstDifference(await head.run(hidden, tokens.length), whole)).toBe(0);
  });

  it('loads without the prefix of the whole model', async () => {
    const bare = new Map([...weights].map(([key, weight]) => [key.replace(/^(model|transformer)\./, ''), weight]));
    const model = await createModel(modelSource({ configJson: TINY[name], checkpoint: memoryCheckpoint(bare) }));
    const original = await createModel(source);
    expect((await model.forward(tokens)).data).toEqual((await original.forward(tokens)).data);
  });
});

describe('taps', () => {
  it.each(names)('%s: each linear layer is seen once, and its output is W x + b', async (name) => {
    const { source, weights } = tinySource(TINY[name]);
    const model = await createModel(source);
    const tokens = randomTokens(6, source.config.vocabSize);
    const inputs = new Map<string, Float32Array>();
    const outputs = new Map<string, Float32Array>();
    const blocks: string[] = [];
    await model.forward(tokens, {
      taps: {
        onLinearInput(block, linear, x) {
          expect(inputs.has(`${block} ${linear}`)).toBe(false);
          inputs.set(`${block} ${linear}`, x.slice());
        },
        onLinearOutput: (block, linear, y) => {
          outputs.set(`${block} ${linear}`, y.slice());
        },
        onBlockInput: (block) => {
          blocks.push(`in ${block}`);
        },
        onBlockOutput: (block) => {
          blocks.push(`out ${block}`);
        },
      },
    });
    expect(blocks).toEqual(source.graph.blocks.flatMap(({ index }) => [`in ${index}`, `out ${index}`]));
    const linears = [...source.graph.blocks.flatMap(({ index, linears }) => linears.map((node) => ({ index, node })))];
    linears.push({ index: source.config.layers, node: source.graph.head });
    expect([...inputs.keys()].sort()).toEqual(linears.map(({ index, node }) => `${index} ${node.name}`).sort());
    for (const { index, node } of linears) {
      const weight = weights.get(node.weight)?.values as Float32Array;
      const bias = node.bias === undefined ? undefined : weights.get(node.bias)?.values;
      const x = inputs.get(`${index} ${node.name}`) as Float32Array;
      const y = outputs.get(`${index} ${node.name}`) as Float32Array;
      const { inFeatures, outFeatures } = node;
      for (let row = 0; row < tokens.length; row++) {
        for (let o = 0; o < outFeatures; o++) {
          let sum = bias?.[o] ?? 0;
          for (let i = 0; i < inFeatures; i++) {
            sum += x[row * inFeatures + i] * weight[node.storedTransposed ? i * outFeatures + o : o * inFeatures + i];
          }
          expect(Math.abs(y[row * outFeatures + o] - sum)).toBeLessThan(1e-5);
        }
      }
    }
  });

  it('may change values in place and be asynchronous', async () => {
    const { source } = tinySource(TINY.llama);
    const model = await createModel(source);
    const { data } = await model.forward([1, 2, 3], {
      taps: {
        async onLinearOutput(_, name, y) {
          await Promise.resolve();
          if (name === 'head') y.fill(7);
        },
      },
    });
    expect([...data].every((value) => value === 7)).toBe(true);
  });
});

describe('replaced weights', () => {
  it.each(names)('%s: logical [out, in] weights stand in for the file’s', async (name) => {
    const { source } = tinySource(TINY[name], 1);
    const other = randomWeights(TINY[name], 2);
    const transposed = new Set(
      source.graph.blocks.flatMap(({ linears }) =>
        linears.filter((node) => node.storedTransposed).map((node) => node.weight),
      ),
    );
    const replaced = await createModel(source, {
      weights: (tensorName) => {
        const weight = other.get(tensorName);
        if (weight === undefined) return undefined;
        if (!transposed.has(tensorName)) return tensor(weight.values, weight.shape);
        const [rows, columns] = weight.shape;
        return { data: weight.values, shape: [columns, rows], stride: [1, columns], offset: 0 };
      },
    });
    const expected = await createModel(modelSource({ configJson: TINY[name], checkpoint: memoryCheckpoint(other) }));
    expect((await replaced.forward([1, 2, 3])).data).toEqual((await expected.forward([1, 2, 3])).data);
  });

  it('must have the right shape', async () => {
    const { source } = tinySource(TINY.llama);
    const weights = () => tensor(new Float32Array(4), [2, 2]);
    expect(await failure(() => createModel(source, { weights }))).toMatch(
      /^SHAPE .*embed_tokens.*\[2,2\], expected \[61,24\]/,
    );
  });
});

describe('refused input', () => {
  const { source } = tinySource(TINY.llama);
  const model: Promise<TransformerModel> = createModel(source);

  it.each([
    ['a token outside the vocabulary', async () => (await model).forward([3, 61]), /^RANGE .*token 61 at 1/],
    ['a negative token', async () => (await model).forward([-1]), /^RANGE/],
    ['no tokens', async () => (await model).forward([]), /^RANGE/],
    ['a start after the end', async () => (await model).forward([1, 2], { from: 2 }), /^RANGE/],
    [
      'more tokens than the context',
      async () => (await model).forward(new Int32Array(97)),
      /^RANGE .*position 96 .*context of 96/,
    ],
    ['positions that do not increase', async () => (await model).forward([1, 2], { positions: [4, 4] }), /^RANGE/],
    ['positions of another count', async () => (await model).forward([1, 2], { positions: [4] }), /^SHAPE/],
    [
      'a block that is not there',
      async () => (await model).block(3, new Float32Array(24), { positions: Int32Array.of(0) }),
      /^RANGE/,
    ],
    ['a block that is not there, alone', () => loadBlock(source, -1, referenceBackend()), /^RANGE/],
    [
      'a cache of another model',
      async () => (await model).forward([1], { cache: fullCache({ layers: 1, kvHeads: 1, headDim: 6 }) }),
      /^SHAPE/,
    ],
    ['an aborted signal', async () => (await model).forward([1], { signal: AbortSignal.abort() }), /^ABORTED/],
    ['an aborted load', () => createModel(source, { signal: AbortSignal.abort() }), /^ABORTED/],
  ])('%s', async (_, work, message) => {
    expect(await failure(work)).toMatch(message);
  });

  it('leaves the cache as it was when the context overflows', async () => {
    const cache = fullCache(kvShape(source.config));
    await (await model).forward(new Int32Array(90), { cache });
    expect(await failure(async () => (await model).forward(new Int32Array(7), { cache }))).toMatch(/^RANGE/);
    expect(cache.length(0, 0)).toBe(90);
  });

  it('releases every weight when loading fails', async () => {
    const held = new Set<unknown>();
    const inner = referenceBackend();
    const backend = {
      ...inner,
      uploadLinear(...args: Parameters<typeof inner.uploadLinear>) {
        const weight = inner.uploadLinear(...args);
        held.add(weight);
        return weight;
      },
      release: (weight: Parameters<typeof inner.release>[0]) => {
        held.delete(weight);
      },
    };
    const weights = (name: string) => (name === 'model.norm.weight' ? tensor(new Float32Array(3)) : undefined);
    expect(await failure(() => createModel(source, { backend, weights }))).toMatch(/^SHAPE/);
    expect(held.size).toBe(0);
  });
});

describe('sliding window', () => {
  it('sees exactly the last tokens: what falls out of every layer’s reach has no influence', async () => {
    const { source } = tinySource({ ...TINY.mistral, num_hidden_layers: 1 });
    const model = await createModel(source);
    const tokens = randomTokens(30, source.config.vocabSize);
    const last = async (input: number[]) => (await model.forward(input, { from: 29 })).data.slice();
    const base = await last(tokens);
    const change = (at: number) => tokens.map((token, i) => (i === at ? (token + 1) % source.config.vocabSize : token));
    expect(await last(change(24))).toEqual(base);
    expect(await last(change(25))).not.toEqual(base);
  });
});
