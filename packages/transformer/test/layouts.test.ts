import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memorySink, writeSafetensors } from '@halftone/formats';
import { gptq, mlx, WEIGHT_LAYOUTS } from '@halftone/formats/layouts';
import { encode, isHalftoneError, type LazyQuantizedTensor, type PackedTensor, packed } from '@halftone/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createModel, type ModelOptions, type ModelSource, modelSource, openModelUrl } from '../src/index.js';
import { openModel } from '../src/node.js';
import { serveFiles } from './file-server.js';
import { memoryCheckpoint, noise, randomWeights, TINY, type Weight } from './tiny-models.js';
import { worstDifference } from './worst-difference.js';

const LLAMA = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 61,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
};
const TOKENS = [5, 60, 0, 33, 12, 12, 7];
const LINEAR = /_proj\.weight$/;

let folder: string;
/** The weights of the model in folder `gptq`, as the floats that they stand for. */
let floats: Map<string, Weight>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-model-layouts-'));
  const plain = randomWeights(LLAMA);
  const stored = new Map<string, PackedTensor>();
  floats = new Map(plain);
  for (const [name, weight] of plain) {
    if (!LINEAR.test(name)) stored.set(name, encode(weight.values, 'f32', weight.shape));
    else for (const [part, tensor] of gptqParts(name, weight, floats)) stored.set(part, tensor);
  }
  const quantization_config = { quant_method: 'gptq', bits: 4, group_size: 32, desc_act: false, sym: false };
  await writeFolder('gptq', stored, { ...LLAMA, quantization_config });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function writeFolder(name: string, tensors: ReadonlyMap<string, PackedTensor>, config: object): Promise<void> {
  const sink = memorySink();
  const entries = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  await writeSafetensors(sink, entries, { data: ({ name }) => (tensors.get(name) as PackedTensor).bytes });
  await mkdir(join(folder, name));
  await writeFile(join(folder, name, 'model.safetensors'), sink.bytes());
  await writeFile(join(folder, name, 'config.json'), JSON.stringify(config));
}

/** Random codes of 4 bits with a scale and a parameter of their own for every 32 columns. */
function randomCodes(rows: number, columns: number, seed: number) {
  const next = noise(seed);
  const groups = columns / 32;
  const whole = (count: number, limit: number) =>
    Array.from({ length: count }, () => Math.floor(((next() + 1) / 2) * limit));
  return {
    groups,
    codes: whole(rows * columns, 16),
    zeros: whole(rows * groups, 15).map((zero) => zero + 1),
    scales: whole(rows * groups, 200).map((n) => (n + 56) / 2 ** 13),
  };
}

/** GPTQ's tensors of random codes, written one bit at a time. Puts what they stand for into `into`. */
function gptqParts(name: string, { shape }: Weight, into: Map<string, Weight>): [string, PackedTensor][] {
  const [rows, columns] = shape;
  const { groups, codes, zeros, scales } = randomCodes(rows, columns, into.size + rows);
  const qweight = new Int32Array((columns / 8) * rows);
  const qzeros = new Int32Array((groups * rows) / 8);
  const turned = new Float32Array(groups * rows);
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let group = 0; group < groups; group++) {
      const zero = zeros[row * groups + group];
      turned[group * rows + row] = scales[row * groups + group];
      setBits(qzeros, group * rows + row, zero - 1);
      for (let column = group * 32; column < (group + 1) * 32; column++) {
        const code = codes[row * columns + column];
        // A word holds 8 inputs of one output.
        setBits(qweight, (Math.floor(column / 8) * rows + row) * 8 + (column % 8), code);
        values[row * columns + column] = (code - zero) * scales[row * groups + group];
      }
    }
  }
  into.set(name, { shape, values });
  const base = name.slice(0, -'.weight'.length);
  const bytes = (words: Int32Array) => new Uint8Array(words.buffer);
  return [
    [`${base}.qweight`, packed('i32', [columns / 8, rows], bytes(qweight))],
    [`${base}.qzeros`, packed('i32', [groups, rows / 8], bytes(qzeros))],
    [`${base}.scales`, encode(turned, 'f16', [groups, rows])],
  ];
}

/** Sets the 4 bits of code `index`, low bits first. */
function setBits(words: Int32Array | Uint32Array, index: number, code: number): void {
  for (let bit = 0; bit < 4; bit++) {
    if ((code >> bit) & 1) words[Math.floor(index / 8)] |= 1 << (4 * (index % 8) + bit);
  }
}

async function logits(source: ModelSource, options: ModelOptions = {}): Promise<Float32Array> {
  const model = await createModel(source, options);
  const { data } = await model.forward(TOKENS);
  await model.dispose();
  return data;
}

async function refusal(open: () => unknown): Promise<string> {
  try {
    await open();
  } catch (error) {
    if (isHalftoneError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'accepted';
}

describe('openModel with layouts', () => {
  it('reads a GPTQ folder', async () => {
    const source = await openModel(join(folder, 'gptq'), { layouts: [gptq()] });
    expect(source.checkpoint.quantized?.size).toBe(14);
    expect([...source.checkpoint.tensors.keys()].filter((name) => /qweight|qzeros|scales/.test(name))).toEqual([]);
    expect(source.configJson).toEqual(LLAMA);
    const plain = modelSource({ configJson: LLAMA, checkpoint: memoryCheckpoint(floats) });
    const expected = await logits(plain);
    expect(await logits(source, { precision: 'f32' })).toEqual(expected);
    // Inputs are rounded to 8 bits.
    const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(worstDifference(await logits(source), expected)).toBeLessThan(0.05 * largest);
    const model = await createModel(source);
    const decoded = await createModel(source, { precision: 'f32' });
    expect(model.byteLength).toBeLessThan(decoded.byteLength);
    await model.dispose();
    await decoded.dispose();
    await source.close();
  });

  it('finds the layout among all', async () => {
    const source = await openModel(join(folder, 'gptq'), { layouts: WEIGHT_LAYOUTS });
    expect(source.checkpoint.quantized?.get('model.layers.0.mlp.up_proj.weight')?.layout).toBe('gptq');
    await source.close();
  });

  it('says what is missing without them, and with others', async () => {
    const path = join(folder, 'gptq');
    const expected = /^UNSUPPORTED .*quant_method "gptq".*no layout that was given reads it; pass the one that does/;
    expect(await refusal(() => openModel(path))).toMatch(expected);
    expect(await refusal(() => openModel(path, { layouts: [mlx] }))).toMatch(expected);
    // Without a word in config.json the names of the tensors tell.
    const bare = join(folder, 'bare');
    await cp(path, bare, { recursive: true });
    await writeFile(join(bare, 'config.json'), JSON.stringify(LLAMA));
    expect(await refusal(() => openModel(bare, { layouts: WEIGHT_LAYOUTS }))).toMatch(
      /^FORMAT .*lacks .*q_proj\.weight.*packed quantized weights, open it with the layout/,
    );
  });

  it('reads them from a web server', async () => {
    const names = ['config.json', 'model.safetensors'];
    const read = async (name: string) => [`/m/${name}`, await readFile(join(folder, 'gptq', name))] as const;
    const server = await serveFiles(new Map(await Promise.all(names.map(read))));
    const remote = await openModelUrl(`${server.url}m/`, { layouts: [gptq()] });
    const local = await openModel(join(folder, 'gptq'), { layouts: [gptq()] });
    expect(await logits(remote)).toEqual(await logits(local));
    await remote.close();
    await local.close();
    await server.close();
  });

  it('reads embeddings and a tied head that MLX quantized', async () => {
    const name = 'model.embed_tokens.weight';
    const plain = randomWeights(LLAMA);
    const [rows, columns] = [61, 32];
    const { codes, scales, zeros } = randomCodes(rows, columns, 9);
    const biases = zeros.map((zero) => -zero / 64);
    const words = new Uint32Array(rows * 4);
    codes.forEach((code, i) => void setBits(words, i, code));
    const values = Float32Array.from(codes, (code, i) => {
      const row = Math.floor(i / columns);
      return Math.fround(code * scales[row]) + biases[row];
    });
    const tensors = new Map<string, PackedTensor>();
    for (const [each, { shape, values }] of plain) tensors.set(each, encode(values, 'f32', shape));
    tensors.set(name, packed('u32', [rows, 4], new Uint8Array(words.buffer)));
    tensors.set('model.embed_tokens.scales', encode(scales, 'f16', [rows, 1]));
    tensors.set('model.embed_tokens.biases', encode(biases, 'f16', [rows, 1]));
    const quantization = { group_size: 32, bits: 4 };
    await writeFolder('mlx', tensors, { ...LLAMA, quantization, quantization_config: quantization });
    await writeFolder('older-mlx', tensors, { ...LLAMA, quantization });
    for (const name of ['mlx', 'older-mlx'])
      expect(await refusal(() => openModel(join(folder, name)))).toMatch(/^UNSUPPORTED .*"group_size":32.*no layout/);
    const older = await openModel(join(folder, 'older-mlx'), { layouts: [mlx] });
    expect(older.configJson).toEqual(LLAMA);
    await older.close();

    const source = await openModel(join(folder, 'mlx'), { layouts: WEIGHT_LAYOUTS });
    expect([...(source.checkpoint.quantized?.keys() ?? [])]).toEqual([name]);
    expect(source.configJson).toEqual(LLAMA);
    const model = await createModel(source);
    const hidden = model.embed(Array.from({ length: 32 }, (_, i) => i + 29));
    expect(hidden).toEqual(values.slice(29 * columns));
    await model.dispose();
    const float = modelSource({
      configJson: LLAMA,
      checkpoint: memoryCheckpoint(new Map(plain).set(name, { shape: [rows, columns], values })),
    });
    expect(await logits(source, { precision: 'f32' })).toEqual(await logits(float));
    await source.close();
  });
});

describe('modelSource with quantized weights', () => {
  /** The model with one weight in a layout, of this shape. */
  function withQuantized(configJson: Record<string, unknown>, name: string, shape: readonly number[]): ModelSource {
    const weights = randomWeights(configJson);
    weights.delete(name);
    const weight: LazyQuantizedTensor = {
      kind: 'lazy-quantized',
      name,
      shape,
      scheme: {
        name: 'affine',
        version: 1,
        grid: { type: 'affine', bits: 4, signed: false, symmetric: false },
        granularity: { type: 'axis', axis: 0 },
      },
      layout: 'gptq',
      stored: [],
      byteLength: 0,
      read: () => Promise.reject(new Error('not read')),
    };
    const checkpoint = { ...memoryCheckpoint(weights), quantized: new Map([[name, weight]]) };
    return modelSource({ configJson, checkpoint });
  }

  it('checks their shapes', async () => {
    const name = 'model.layers.1.mlp.down_proj.weight';
    expect(withQuantized(TINY.llama, name, [24, 40]).checkpoint.quantized?.size).toBe(1);
    expect(await refusal(() => withQuantized(TINY.llama, name, [40, 24]))).toMatch(
      /^SHAPE .*down_proj\.weight is \[40,24\], expected \[24,40\]/,
    );
    expect(await refusal(() => withQuantized(TINY.llama, 'model.layers.9.x.weight', [1]))).toBe('accepted');
  });

  it('has [out, in] where GPT-2 has Conv1D weights', async () => {
    const name = 'transformer.h.0.attn.c_attn.weight';
    const source = withQuantized(TINY.gpt2, name, [60, 20]);
    expect(source.weightsTransposed).toBe(true);
    expect(await refusal(() => withQuantized(TINY.gpt2, name, [20, 60]))).toMatch(
      /^SHAPE .*c_attn\.weight is \[20,60\], expected \[60,20\]/,
    );
  });

  it('knows an embedding that only a layout has', async () => {
    expect(withQuantized(TINY.llama, 'model.embed_tokens.weight', [61, 24]).graph.embedding).toMatch(/^model\./);
    expect(await refusal(() => withQuantized(TINY.llama, 'model.embed_tokens.weight', [61, 3]))).toMatch(/^SHAPE/);
  });
});
