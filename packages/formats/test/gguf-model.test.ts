import { type Checkpoint, isHalftoneError, type LazyTensor, type MetadataValue, tensor } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyGgufTransform,
  type GgufArchitecture,
  ggufAsHuggingFace,
  ggufRequiredTensors,
  ggufTensorName,
  huggingFaceTensorName,
  huggingFaceToGguf,
  llama3RopeFactors,
  permuteHeadRows,
  permuteRowsLazy,
  transposeLazy,
} from '../src/index.js';
import { TINY_MODELS, tinyTensors } from './support/tiny-models.js';

const tinyTokenizer = {
  added_tokens: [{ id: 0, content: '<|end|>', special: true }],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
  post_processor: null,
  decoder: { type: 'ByteLevel' },
  model: { type: 'BPE', vocab: { '<|end|>': 0, a: 1, b: 2, ab: 3 }, merges: [['a', 'b']] },
};

describe('tensor names', () => {
  it('follows the published pairs', () => {
    expect(ggufTensorName('llama', 'model.layers.12.self_attn.q_proj.weight')).toBe('blk.12.attn_q.weight');
    expect(ggufTensorName('llama', 'model.layers.0.post_attention_layernorm.weight')).toBe('blk.0.ffn_norm.weight');
    expect(ggufTensorName('qwen2', 'model.layers.3.self_attn.v_proj.bias')).toBe('blk.3.attn_v.bias');
    expect(ggufTensorName('qwen3', 'model.layers.3.self_attn.k_norm.weight')).toBe('blk.3.attn_k_norm.weight');
    expect(ggufTensorName('gpt2', 'transformer.h.5.mlp.c_proj.bias')).toBe('blk.5.ffn_down.bias');
    expect(ggufTensorName('gpt2', 'h.5.mlp.c_proj.bias')).toBe('blk.5.ffn_down.bias');
    expect(ggufTensorName('gpt2', 'transformer.wpe.weight')).toBe('position_embd.weight');
    expect(ggufTensorName('llama', 'lm_head.weight')).toBe('output.weight');
    expect(ggufTensorName('llama', 'model.norm.weight')).toBe('output_norm.weight');
    expect(ggufTensorName('qwen3', 'model.layers.0.self_attn.q_proj.bias')).toBeUndefined();
    expect(ggufTensorName('llama', 'model.layers.{}.self_attn.q_proj.weight')).toBeUndefined();
  });

  it.each(Object.keys(TINY_MODELS))('is invertible for every tensor of %s', (name) => {
    const config = TINY_MODELS[name as keyof typeof TINY_MODELS];
    const plan = huggingFaceToGguf({ configJson: config, tensors: tinyTensors(config) });
    const architecture = plan.metadata.find(({ key }) => key === 'general.architecture')?.value as GgufArchitecture;
    for (const { ggufName, hfName } of plan.tensors) {
      expect(ggufTensorName(architecture, hfName)).toBe(ggufName);
      expect(huggingFaceTensorName(architecture, ggufName)).toBe(hfName);
    }
    const names = plan.tensors.map(({ ggufName }) => ggufName);
    expect(names).toEqual(expect.arrayContaining(ggufRequiredTensors(architecture, 2)));
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('row permutation', () => {
  it('interleaves the halves of each head', () => {
    const rows = Uint8Array.of(0, 1, 2, 3, 10, 11, 12, 13);
    expect([...permuteHeadRows(rows, 1, 2)]).toEqual([0, 2, 1, 3, 10, 12, 11, 13]);
  });

  it('is undone by its inverse, on rows of any size', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 7 }),
        (heads, half, rowBytes) => {
          const rows = Uint8Array.from({ length: heads * half * 2 * rowBytes }, (_, i) => (i * 37) % 251);
          expect(permuteHeadRows(permuteHeadRows(rows, rowBytes, heads), rowBytes, heads, true)).toEqual(rows);
        },
      ),
    );
  });

  it('gives the same rows lazily for every range', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 5 }),
        fc.boolean(),
        fc.nat(),
        fc.nat(),
        async (heads, half, inverse, a, b) => {
          const rows = heads * half * 2;
          const bytes = Uint8Array.from({ length: rows * 6 }, (_, i) => i % 256);
          const lazy = permuteRowsLazy(lazyOf('q', bytes, [rows, 3], 'f16'), heads, inverse);
          const [start, end] = [a % (rows + 1), b % (rows + 1)].sort((x, y) => x - y) as [number, number];
          const part = await lazy.read({ start, end });
          expect(part.shape).toEqual([end - start, 3]);
          expect(part.bytes).toEqual(permuteHeadRows(bytes, 6, heads, inverse).slice(start * 6, end * 6));
          const into = new Uint8Array(part.bytes.length);
          expect((await lazy.read({ start, end }, { into })).bytes).toBe(into);
          expect(into).toEqual(part.bytes);
        },
      ),
    );
  });

  it('works on biases and refuses rows that are not heads', async () => {
    const bias = lazyOf(
      'q.bias',
      Uint8Array.from({ length: 16 }, (_, i) => i),
      [8],
      'f16',
    );
    expect([...(await permuteRowsLazy(bias, 2).read()).bytes]).toEqual([
      0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,
    ]);
    expect(() => permuteHeadRows(new Uint8Array(6), 1, 2)).toThrow(/heads of an even number/);
    await expect(permuteRowsLazy(bias, 2).read({ start: 0, end: 9 })).rejects.toMatchObject({ code: 'RANGE' });
  });
});

describe('transposition', () => {
  it('exchanges the axes for whole reads and ranges', async () => {
    const bytes = Uint8Array.from({ length: 12 }, (_, i) => i);
    const lazy = transposeLazy(lazyOf('w', bytes, [2, 3], 'bf16'));
    expect(lazy.shape).toEqual([3, 2]);
    expect([...(await lazy.read()).bytes]).toEqual([0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
    expect([...(await lazy.read({ start: 1, end: 2 })).bytes]).toEqual([2, 3, 8, 9]);
    const into = new Uint8Array(4);
    expect((await lazy.read({ start: 1, end: 2 }, { into })).bytes).toBe(into);
    expect([...into]).toEqual([2, 3, 8, 9]);
    expect(() => transposeLazy(lazyOf('w', new Uint8Array(18), [1, 32], 'Q4_0'))).toThrow(/cannot be transposed/);
  });
});

describe('Hugging Face to GGUF and back', () => {
  it.each(Object.keys(TINY_MODELS))('keeps the configuration and every row of %s', async (name) => {
    const config = TINY_MODELS[name as keyof typeof TINY_MODELS];
    const { plan, source, checkpoint } = ggufOf(config);
    const view = await ggufAsHuggingFace(checkpoint);
    const rest = view.configJson;
    for (const [key, value] of Object.entries(config)) {
      if (typeof value === 'number') expect(rest[key], key).toBeCloseTo(value, 5);
      else expect(rest[key], key).toEqual(value);
    }
    expect(view.conv1dTransposed).toBe(false);
    for (const { hfName, transform } of plan.tensors) {
      const back = await (view.checkpoint.tensors.get(hfName) as LazyTensor).read();
      const original = source.get(hfName) as LazyTensor;
      const logical = transform.transpose ? transposeLazy(original) : original;
      expect(back, hfName).toEqual(await logical.read());
    }
    expect(view.checkpoint.tensors.size).toBe(plan.tensors.length);
  });

  it('keeps floats only where llama.cpp needs F32', () => {
    const { plan } = ggufOf(TINY_MODELS.gpt2);
    const floats = plan.tensors.filter(({ keepFloat }) => keepFloat).map(({ ggufName }) => ggufName);
    expect(floats).toContain('position_embd.weight');
    expect(floats).toContain('blk.0.attn_norm.weight');
    expect(floats).toContain('blk.1.ffn_up.bias');
    expect(
      plan.tensors.filter(({ keepFloat }) => !keepFloat).every(({ ggufName }) => ggufName.endsWith('.weight')),
    ).toBe(true);
    expect(
      floats.some(
        (each) => /(_embd|attn_qkv|attn_output|ffn_up|ffn_down)\.weight$/.test(each) && !each.startsWith('position'),
      ),
    ).toBe(false);
  });

  it('writes the keys that llama.cpp cannot do without', () => {
    for (const config of Object.values(TINY_MODELS)) {
      const { plan } = ggufOf(config);
      const keys = new Map(plan.metadata.map((entry) => [entry.key, entry]));
      const a = keys.get('general.architecture')?.value;
      for (const key of [
        'context_length',
        'embedding_length',
        'block_count',
        'feed_forward_length',
        'attention.head_count',
      ]) {
        expect(keys.get(`${a}.${key}`)?.type).toBe('u32');
      }
      expect(keys.has(`${a}.attention.layer_norm_${a === 'gpt2' ? '' : 'rms_'}epsilon`)).toBe(true);
      expect(keys.size).toBe(plan.metadata.length);
      for (const key of ['model', 'pre', 'tokens', 'merges', 'token_type', 'add_bos_token'])
        expect(keys.has(`tokenizer.ggml.${key}`)).toBe(true);
      expect(keys.get('tokenizer.ggml.tokens')?.value).toHaveLength(config.vocab_size);
    }
  });

  it('skips a tied head that is stored all the same, and asks for an untied one', () => {
    const tied = { ...TINY_MODELS.llama, tie_word_embeddings: true };
    const tensors = tinyTensors(TINY_MODELS.llama);
    expect(tensors.has('lm_head.weight')).toBe(true);
    expect(
      huggingFaceToGguf({ configJson: tied, tensors }).tensors.some(({ ggufName }) => ggufName === 'output.weight'),
    ).toBe(false);
    tensors.delete('lm_head.weight');
    expect(() => huggingFaceToGguf({ configJson: TINY_MODELS.llama, tensors })).toThrow(/lm_head\.weight/);
  });
});

describe('rotary scaling', () => {
  const llama3 = {
    rope_type: 'llama3',
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };

  it('leaves short wavelengths alone and divides long ones', () => {
    const factors = llama3RopeFactors(llama3, 500_000, 64);
    expect(factors[0]).toBe(1);
    expect(factors[31]).toBe(32);
    expect([...factors].every((value, i) => i === 0 || value >= (factors[i - 1] as number))).toBe(true);
  });

  it('comes back as llama3 where the published settings made it, else as factors', async () => {
    const config = { ...TINY_MODELS.llama, head_dim: 64, rope_theta: 500_000, rope_scaling: llama3 };
    expect((await ggufAsHuggingFace(ggufOf(config).checkpoint)).configJson.rope_scaling).toEqual(llama3);
    const other = { ...config, rope_scaling: { ...llama3, original_max_position_embeddings: 4096 } };
    const scaling = (await ggufAsHuggingFace(ggufOf(other).checkpoint)).configJson.rope_scaling as {
      factors: number[];
    };
    expect(scaling).toMatchObject({ rope_type: 'factors' });
    expect(scaling.factors).toEqual([...llama3RopeFactors(other.rope_scaling, 500_000, 64)]);
    const again = await ggufAsHuggingFace(ggufOf({ ...config, rope_scaling: scaling }).checkpoint);
    expect(again.configJson.rope_scaling).toEqual(scaling);
    expect(() => ggufOf({ ...config, rope_scaling: { rope_type: 'factors', factors: [1] } })).toThrow(/32 positive/);
  });

  it.each([
    { rope_type: 'linear', factor: 4 },
    { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32 },
  ])('keeps %o', async (scaling) => {
    const config = { ...TINY_MODELS.qwen2, rope_scaling: scaling };
    expect((await ggufAsHuggingFace(ggufOf(config).checkpoint)).configJson.rope_scaling).toEqual(scaling);
  });

  it('refuses what GGUF cannot say', () => {
    const config = { ...TINY_MODELS.qwen2, rope_scaling: { type: 'dynamic', factor: 2 } };
    expect(() => ggufOf(config)).toThrow(/dynamic/);
  });
});

describe('bad input', () => {
  const change = (edit: (metadata: Map<string, MetadataValue>, tensors: Map<string, LazyTensor>) => void) => {
    const { checkpoint } = ggufOf(TINY_MODELS.llama);
    const metadata = new Map(checkpoint.metadata);
    const tensors = new Map(checkpoint.tensors);
    edit(metadata, tensors);
    return ggufAsHuggingFace({ ...checkpoint, metadata, tensors });
  };

  it('names the key or tensor', async () => {
    await expect(change((m) => m.set('general.architecture', 'mamba'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('mamba'),
    });
    await expect(change((m) => m.delete('general.architecture'))).rejects.toMatchObject({ code: 'FORMAT' });
    for (const key of [
      'llama.block_count',
      'llama.embedding_length',
      'llama.attention.head_count',
      'llama.context_length',
    ]) {
      await expect(change((m) => m.delete(key))).rejects.toMatchObject({
        code: 'FORMAT',
        message: expect.stringContaining(key),
      });
      for (const value of [0, -1, 1.5, 2 ** 40, 'x', Number.NaN]) {
        await expect(change((m) => m.set(key, value))).rejects.toMatchObject({ code: 'FORMAT' });
      }
    }
    await expect(change((m) => m.set('llama.block_count', 3))).rejects.toThrow('blk.2.');
    await expect(change((m) => m.set('llama.block_count', 1))).rejects.toThrow('blk.1.');
    await expect(change((m) => m.set('llama.expert_count', 8))).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(change((m) => m.set('llama.rope.dimension_count', 4))).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(change((m) => m.set('llama.rope.scaling.type', 'longrope'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
    await expect(change((_, t) => t.delete('blk.0.ffn_up.weight'))).rejects.toThrow('blk.0.ffn_up.weight');
    await expect(change((m) => m.set('llama.feed_forward_length', 13))).rejects.toMatchObject({ code: 'SHAPE' });
    await expect(
      change((_, t) => t.set('rope_freqs.weight', lazyOf('rope_freqs.weight', new Uint8Array(4), [1], 'f32'))),
    ).rejects.toMatchObject({ code: 'SHAPE' });
  });

  it('answers any damaged key with a HalftoneError', async () => {
    const { checkpoint } = ggufOf({ ...TINY_MODELS.qwen2, rope_scaling: { rope_type: 'linear', factor: 2 } });
    const values = fc.oneof(
      fc.constantFrom<MetadataValue | undefined>(
        undefined,
        '',
        'llama',
        true,
        0,
        -1,
        2 ** 53,
        Number.NaN,
        10n,
        [],
        [1, 2],
        ['a'],
      ),
      fc.constant(Float32Array.of(1, Number.NaN)),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...checkpoint.metadata.keys()), values, async (key, value) => {
        const metadata = new Map(checkpoint.metadata);
        if (value === undefined) metadata.delete(key);
        else metadata.set(key, value);
        const error = await ggufAsHuggingFace({ ...checkpoint, metadata }).catch((thrown) => thrown);
        if (error instanceof Error) expect(isHalftoneError(error), `${key}: ${error}`).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  it('names what is wrong in a Hugging Face model', () => {
    const tensors = tinyTensors(TINY_MODELS.qwen2);
    const plan = (configJson: object, shapes: Map<string, { shape: readonly number[] }> = tensors) =>
      huggingFaceToGguf({ configJson: configJson as Record<string, unknown>, tensors: shapes });
    expect(() => plan({ ...TINY_MODELS.qwen2, model_type: 'mamba' })).toThrow(/mamba/);
    expect(() => plan({ ...TINY_MODELS.qwen2, hidden_act: 'relu' })).toThrow(/relu/);
    expect(() => plan({ ...TINY_MODELS.qwen2, num_hidden_layers: 1e9 })).toThrow(/num_hidden_layers/);
    expect(() => plan({ ...TINY_MODELS.qwen2, num_key_value_heads: 3 })).toThrow(/multiple/);
    const extra = new Map(tensors).set('model.layers.0.mlp.experts.weight', { shape: [1] });
    expect(() => plan(TINY_MODELS.qwen2, extra)).toThrow(/experts/);
    const missing = new Map(tensors);
    missing.delete('model.norm.weight');
    expect(() => plan(TINY_MODELS.qwen2, missing)).toThrow(/model\.norm\.weight/);
    const wrong = new Map(tensors).set('model.norm.weight', { shape: [1, 8] });
    expect(() => plan(TINY_MODELS.qwen2, wrong)).toThrow(/model\.norm\.weight/);
    expect(() =>
      huggingFaceToGguf({
        configJson: { ...TINY_MODELS.llama, vocab_size: 2 },
        tensors: tinyTensors({ ...TINY_MODELS.llama, vocab_size: 2 }),
        tokenizerJson: tinyTokenizer,
      }),
    ).toThrow(/vocabulary is 2/);
  });
});

/** The checkpoint that reading back a GGUF file of a tiny random model gives. */
function ggufOf(config: Readonly<Record<string, unknown>>) {
  const shapes = tinyTensors(config);
  const source = new Map<string, LazyTensor>();
  for (const [name, { shape }] of shapes) {
    const count = shape.reduce((a, b) => a * b, 1);
    const bytes = Uint8Array.from({ length: count * 2 }, (_, i) => (i * 31 + name.length * 7) % 253);
    source.set(name, lazyOf(name, bytes, shape, 'bf16'));
  }
  const plan = huggingFaceToGguf({ configJson: config, tensors: shapes, tokenizerJson: tinyTokenizer });
  const tensors = new Map<string, LazyTensor>();
  for (const { ggufName, hfName, transform, shape } of plan.tensors) {
    const lazy = { ...applyGgufTransform(source.get(hfName) as LazyTensor, transform), name: ggufName };
    expect(lazy.shape).toEqual(shape);
    tensors.set(ggufName, lazy);
  }
  for (const { ggufName, values, shape } of plan.extraTensors) {
    const { data } = tensor(values, shape);
    tensors.set(ggufName, lazyOf(ggufName, new Uint8Array(data.buffer), shape, 'f32'));
  }
  const metadata = new Map(plan.metadata.map(({ key, value }) => [key, value]));
  const checkpoint: Checkpoint = { format: 'gguf', metadata, tensors, byteLength: 0, close: async () => {} };
  return { plan, source, checkpoint };
}

function lazyOf(name: string, bytes: Uint8Array, shape: readonly number[], dtype: LazyTensor['dtype']): LazyTensor {
  const rows = shape[0] ?? 1;
  const rowBytes = bytes.length / rows;
  return {
    kind: 'lazy',
    name,
    dtype,
    shape,
    byteLength: bytes.length,
    async read(range = { start: 0, end: rows }) {
      const part = bytes.slice(range.start * rowBytes, range.end * rowBytes);
      return { kind: 'packed', dtype, shape: [range.end - range.start, ...shape.slice(1)], bytes: part };
    },
  };
}
