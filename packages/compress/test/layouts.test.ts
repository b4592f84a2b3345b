import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { arrayBufferSource, gguf } from '@halftone/formats';
import { WEIGHT_LAYOUTS } from '@halftone/formats/layouts';
import { ggml } from '@halftone/quantizers';
import { dequantize, type GgmlType, type LazyTensor, type WeightLayout } from '@halftone/tensor';
import { createModel, type ModelSource } from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodedSource } from '../src/decoded-source.js';
import { outputFile, outputFolder } from '../src/file-output.js';
import { memoryOutput } from '../src/output.js';
import { quantizeModel } from '../src/quantize-model.js';
import type { Recipe } from '../src/recipe.js';
import { parseRecipe } from '../src/recipes.js';
import { safetensorsOutput } from '../src/safetensors-output.js';
import { asStored, inGgmlBlocks, inLayout } from '../src/stored-source.js';
import { GPT2, LLAMA, memoryCheckpoint, randomModel } from './random-model.js';

const LAYOUTS = ['gptq', 'awq', 'compressed-tensors', 'mlx', 'halftone'] as const;
const TOKENS = [3, 1, 4, 15, 9, 26, 5, 35, 8, 9, 7, 9];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-layouts-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Linear weights of blocks, and what `also` names, in one type; the rest in float32. */
function matricesIn(type: GgmlType, also: readonly string[] = []): Recipe {
  return {
    name: `matrices in ${type}`,
    description: '',
    needs: [],
    treat: ({ role, shape, block }) =>
      shape.length === 2 && (block !== undefined || also.includes(role))
        ? { storage: type, quantizer: ggml(type) }
        : { storage: 'f32' },
  };
}

async function ggufModel(source: ModelSource, recipe: Recipe, name = 'model.gguf'): Promise<ModelSource> {
  const path = join(folder, name);
  await quantizeModel(source, { recipe, output: outputFile(path) });
  return openModel(path);
}

/** The model stored in a layout, and opened again. */
async function layoutModel(source: ModelSource, layout: string): Promise<ModelSource> {
  const path = join(folder, layout);
  const stored = await inLayout(source, layoutNamed(layout));
  await quantizeModel(stored, { recipe: asStored, format: safetensorsOutput, output: outputFolder(path) });
  return openModel(path, { layouts: WEIGHT_LAYOUTS });
}

function layoutNamed(name: string): WeightLayout {
  return WEIGHT_LAYOUTS.find((layout) => layout.name === name) as WeightLayout;
}

async function logits(source: ModelSource, precision: 'stored' | 'f32' = 'stored'): Promise<Float32Array> {
  const model = await createModel(source, { precision });
  const { data } = await model.forward(TOKENS);
  await model.dispose();
  return data;
}

/**
 * The same, bit for bit. With weights as they are stored, MLX is left out: its biases are added to every product where zeros are
 * subtracted from codes, and kernels round the sums of the two otherwise.
 */
async function expectSameLogits(stored: ModelSource, source: ModelSource): Promise<void> {
  expect(await logits(stored, 'f32')).toEqual(await logits(source, 'f32'));
  const layouts = Array.from(stored.checkpoint.quantized?.values() ?? [], ({ layout }) => layout);
  if (!layouts.includes('mlx')) expect(await logits(stored)).toEqual(await logits(source));
}

/** Type and digest of every tensor of the GGUF file that the model becomes. */
async function ggufTensors(source: ModelSource, recipe: Recipe = asStored): Promise<Map<string, string>> {
  const output = memoryOutput();
  await quantizeModel(source, { recipe, output });
  const checkpoint = await gguf.open(arrayBufferSource((output.files[0] as Uint8Array).slice().buffer));
  const tensors = new Map<string, string>();
  for (const [name, tensor] of checkpoint.tensors) {
    const { bytes } = await tensor.read();
    tensors.set(name, `${tensor.dtype} ${createHash('sha256').update(bytes).digest('hex')}`);
  }
  return tensors;
}

describe('a model in another layout', () => {
  it.each(LAYOUTS)('%s predicts as the GGUF file does, and goes back to it', async (layout) => {
    const source = await ggufModel(randomModel(LLAMA), matricesIn('Q4_0'));
    const stored = await layoutModel(source, layout);
    const names = [...(stored.checkpoint.quantized?.values() ?? [])].map((weight) => weight.layout);
    expect(names).toEqual(Array.from({ length: 14 }, () => layout));
    await expectSameLogits(stored, source);
    expect(await ggufTensors(await inGgmlBlocks(stored))).toEqual(await ggufTensors(source));
    await source.close();
    await stored.close();
  });

  it.each(['mlx', 'halftone'])('%s holds embeddings too', async (layout) => {
    const source = await ggufModel(randomModel(LLAMA), matricesIn('Q4_0', ['token-embedding', 'output']));
    const stored = await layoutModel(source, layout);
    expect(stored.checkpoint.quantized?.has('model.embed_tokens.weight')).toBe(true);
    expect(stored.checkpoint.quantized?.has('lm_head.weight')).toBe(true);
    await expectSameLogits(stored, source);
    expect(await ggufTensors(await inGgmlBlocks(stored))).toEqual(await ggufTensors(source));
    await source.close();
    await stored.close();
  });

  it('keeps embeddings as exact floats where the layout has none', async () => {
    const source = await ggufModel(randomModel(LLAMA), matricesIn('Q4_0', ['token-embedding']));
    const stored = await layoutModel(source, 'gptq');
    expect(stored.checkpoint.tensors.get('model.embed_tokens.weight')?.dtype).toMatch(/^(b?f16|f32)$/);
    await expectSameLogits(stored, source);
    await source.close();
    await stored.close();
  });

  it.each([LAYOUTS, LAYOUTS.toReversed()])('passes through %s, %s, %s, %s, %s', async (...layouts) => {
    let current = await ggufModel(randomModel(LLAMA), matricesIn('Q4_0'));
    for (const layout of layouts) {
      const next = await layoutModel(current, layout);
      await current.close();
      current = next;
    }
    const back = await ggufTensors(await inGgmlBlocks(current));
    await current.close();
    const again = await ggufModel(randomModel(LLAMA), matricesIn('Q4_0'), 'again.gguf');
    expect(back).toEqual(await ggufTensors(again));
    await again.close();
  });

  it.each(['gptq', 'mlx', 'halftone'])('%s holds the Conv1D weights of GPT-2', async (layout) => {
    const source = await ggufModel(randomModel(GPT2), matricesIn('Q4_0'));
    const stored = await layoutModel(source, layout);
    const name = 'transformer.h.1.attn.c_attn.weight';
    expect(stored.checkpoint.quantized?.get(name)?.shape).toEqual([192, 64]);
    await expectSameLogits(stored, source);
    expect(await ggufTensors(await inGgmlBlocks(stored))).toEqual(await ggufTensors(source));
    await source.close();
    await stored.close();
  });

  it('turns Conv1D weights that stay floats, from GGUF to a folder and back', async () => {
    const { treat, ...half } = matricesIn('Q4_0');
    const recipe: Recipe = {
      ...half,
      treat: (tensor) => (tensor.block === 0 ? treat(tensor) : { storage: 'f32' }),
    };
    const source = await ggufModel(randomModel(GPT2), recipe);
    const stored = await layoutModel(source, 'gptq');
    expect(stored.checkpoint.quantized?.size).toBe(4);
    expect(stored.checkpoint.tensors.get('transformer.h.1.attn.c_attn.weight')?.shape).toEqual([64, 192]);
    await expectSameLogits(stored, source);
    expect(await ggufTensors(await inGgmlBlocks(stored))).toEqual(await ggufTensors(source));

    const path = join(folder, 'decoded');
    const output = outputFolder(path);
    await quantizeModel(source, { recipe: parseRecipe('F32'), format: safetensorsOutput, output });
    const decoded = await openModel(path);
    expect(await logits(decoded)).toEqual(await logits(source, 'f32'));
    for (const model of [source, stored, decoded]) await model.close();
  });

  it('names the weights that do not fit, with reasons, and writes nothing', async () => {
    const wide = { ...LLAMA, hidden_size: 256, intermediate_size: 256 };
    const source = await ggufModel(randomModel(wide), matricesIn('Q4_K'));
    const refused = inLayout(source, layoutNamed('gptq'));
    await expect(refused).rejects.toMatchObject({ code: 'UNSUPPORTED', where: 'gptq' });
    await expect(refused).rejects.toThrow(
      /14 weights cannot be stored exactly: model\.layers\.0\.self_attn\.q_proj\.weight: .*; and 11 more$/,
    );
    const { refused: names } = await refused.catch((error) => error.details);
    expect(names).toHaveLength(14);
    const run = quantizeModel(source, {
      recipe: asStored,
      format: safetensorsOutput,
      output: outputFolder(join(folder, 'out')),
    });
    await expect(run).rejects.toThrow(/as Q4_K, which safetensors cannot hold.*name a layout/);
    expect(await readdir(folder)).toEqual(['model.gguf']);
    await source.close();
  });

  it('refuses floats, and layouts that are only read', async () => {
    const float = randomModel(LLAMA);
    await expect(inLayout(float, layoutNamed('awq'))).rejects.toThrow(/no weight is quantized/);
    const readOnly = WEIGHT_LAYOUTS.find((layout) => layout.writer === undefined) as WeightLayout;
    await expect(inLayout(float, readOnly)).rejects.toThrow(/is read but not written/);
  });
});

describe('inGgmlBlocks', () => {
  it('gives back a model without a layout', async () => {
    const source = randomModel(LLAMA);
    expect(await inGgmlBlocks(source)).toBe(source);
  });

  it('names the weights that no block type holds, with reasons', async () => {
    const source = await ggufModel(randomModel(LLAMA), matricesIn('Q4_0'));
    const stored = await layoutModel(source, 'gptq');
    const quantized = new Map(stored.checkpoint.quantized);
    for (const name of ['model.layers.0.mlp.up_proj.weight', 'model.layers.1.mlp.down_proj.weight']) {
      const weight = quantized.get(name) as NonNullable<ReturnType<typeof quantized.get>>;
      const read: typeof weight.read = async (options) => {
        const q = await weight.read(options);
        const groups = Math.ceil((q.shape[1] as number) / 32);
        const groupIndex = Uint32Array.from({ length: q.shape[1] as number }, (_, column) => column % groups);
        return { ...q, parts: { ...q.parts, groupIndex } };
      };
      quantized.set(name, { ...weight, read });
    }
    const actOrder = { ...stored, checkpoint: { ...stored.checkpoint, quantized } };
    await expect(inGgmlBlocks(actOrder)).rejects.toThrow(
      /2 weights fit in no ggml type exactly: .*layers\.0\.mlp\.up_proj\.weight: .*act-order.*layers\.1\.mlp\.down_proj/,
    );
    await source.close();
    await stored.close();
  });

  it('stops when it is told to', async () => {
    const source = await ggufModel(randomModel(LLAMA), matricesIn('Q4_0'));
    const stored = await layoutModel(source, 'awq');
    await expect(inGgmlBlocks(stored, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(inLayout(stored, layoutNamed('gptq'), { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    });
    await source.close();
    await stored.close();
  });
});

describe('decodedSource', () => {
  it('gives back a model without a layout', () => {
    const source = randomModel(LLAMA);
    expect(decodedSource(source)).toBe(source);
  });

  it.each([
    ['llama', LLAMA],
    ['gpt2', GPT2],
  ])('quantizes the decoded weights of a GPTQ %s', async (_name, config) => {
    const source = await ggufModel(randomModel(config), matricesIn('Q4_0'));
    const stored = await layoutModel(source, 'gptq');
    const decoded = decodedSource(stored);
    expect(decoded.checkpoint.quantized).toBeUndefined();
    expect(await logits(decoded)).toEqual(await logits(stored, 'f32'));

    // The same floats, decoded here and turned by hand.
    const floats = new Map(stored.checkpoint.tensors);
    for (const [name, weight] of stored.checkpoint.quantized ?? []) {
      const values = dequantize(await weight.read());
      const [out, input] = weight.shape as [number, number];
      const shape = config === GPT2 ? [input, out] : [out, input];
      const turned =
        config === GPT2
          ? values.map((_, i) => values[(i % out) * input + Math.floor(i / out)] as number)
          : values.slice();
      const read: LazyTensor['read'] = async ({ start, end } = { start: 0, end: shape[0] as number }) => {
        const part = turned.slice(start * (shape[1] as number), end * (shape[1] as number));
        return {
          kind: 'packed',
          dtype: 'f32',
          shape: [end - start, shape[1] as number],
          bytes: new Uint8Array(part.buffer),
        };
      };
      floats.set(name, { kind: 'lazy', name, dtype: 'f32', shape, byteLength: values.byteLength, read });
    }
    const plain = { ...stored, checkpoint: memoryCheckpoint(floats) };
    for (const recipe of [matricesIn('Q5_1'), parseRecipe('Q8_0'), parseRecipe('F16')]) {
      expect(await ggufTensors(stored, recipe)).toEqual(await ggufTensors(plain, recipe));
    }
    // Whole weights and row ranges alike.
    for (const name of stored.checkpoint.quantized?.keys() ?? []) {
      const tensor = decoded.checkpoint.tensors.get(name) as LazyTensor;
      const expected = plain.checkpoint.tensors.get(name) as LazyTensor;
      expect(await tensor.read()).toEqual(await expected.read());
      expect(await tensor.read({ start: 5, end: 7 })).toEqual(await expected.read({ start: 5, end: 7 }));
      const into = new Uint8Array(2 * 4 * (tensor.shape[1] as number));
      expect((await tensor.read({ start: 30, end: 32 }, { into })).bytes).toBe(into);
      expect(into).toEqual((await expected.read({ start: 30, end: 32 })).bytes);
    }
    await source.close();
    await stored.close();
  });
});
