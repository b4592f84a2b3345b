import { isHalftoneError } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { kvShape, parseConfig } from '../src/index.js';
import { TINY } from './tiny-models.js';

const { llama, mistral, qwen2, qwen3, gpt2 } = TINY;

function refusal(config: object | string): string {
  try {
    parseConfig(config);
  } catch (error) {
    if (isHalftoneError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'accepted';
}

describe('parseConfig', () => {
  it('reads a llama config', () => {
    expect(parseConfig({ ...llama, bos_token_id: 1, eos_token_id: [2, 3, 3], rope_scaling: null })).toEqual({
      architecture: 'llama',
      layers: 3,
      hiddenSize: 24,
      intermediateSize: 40,
      heads: 4,
      kvHeads: 2,
      headDim: 6,
      vocabSize: 61,
      contextLength: 96,
      norm: 'rms',
      normEpsilon: 1e-5,
      activation: 'silu',
      gatedMlp: true,
      rope: { theta: 500, scaling: { type: 'default' } },
      queryBias: true,
      outputBias: true,
      mlpBias: true,
      headNorms: false,
      windows: [undefined, undefined, undefined],
      tiedHead: false,
      bosTokens: [1],
      eosTokens: [2, 3, 3],
    });
  });

  it('reads text as well as an object', () => {
    expect(parseConfig(JSON.stringify(gpt2))).toEqual(parseConfig(gpt2));
  });

  it('reads a gpt2 config, whose MLP is four times the width where it does not say', () => {
    const config = parseConfig(gpt2);
    expect(config).toMatchObject({
      intermediateSize: 80,
      headDim: 10,
      kvHeads: 2,
      norm: 'layer',
      activation: 'gelu',
      gatedMlp: false,
    });
    expect(config.rope).toBeUndefined();
    expect(config.tiedHead).toBe(true);
    expect(parseConfig({ ...gpt2, n_inner: 33 }).intermediateSize).toBe(33);
    expect(kvShape(config)).toEqual({ layers: 2, kvHeads: 2, headDim: 10 });
  });

  it('takes rotary parameters in the old and the new form', () => {
    const scaling = { factor: 2, rope_theta: 100 };
    const linear = { theta: 100, scaling: { type: 'linear', factor: 2 } };
    expect(parseConfig({ ...mistral, rope_parameters: { ...scaling, rope_type: 'linear' } }).rope).toEqual(linear);
    const old = {
      ...mistral,
      rope_parameters: undefined,
      rope_theta: 100,
      rope_scaling: { factor: 2, type: 'linear' },
    };
    expect(parseConfig(old).rope).toEqual(linear);
    expect(parseConfig(llama).rope?.scaling).toEqual({
      type: 'llama3',
      factor: 4,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 32,
    });
  });

  it('gives each layer its window', () => {
    expect(parseConfig(mistral).windows).toEqual([5, 5, 5]);
    expect(parseConfig({ ...mistral, sliding_window: null }).windows).toEqual([undefined, undefined, undefined]);
    expect(parseConfig({ ...llama, sliding_window: 4 }).windows).toEqual([undefined, undefined, undefined]);
    expect(parseConfig(qwen2).windows).toEqual([undefined, 4, 4]);
    expect(parseConfig({ ...qwen2, use_sliding_window: false }).windows).toEqual([undefined, undefined, undefined]);
    const types = { layer_types: ['sliding_attention', 'full_attention', 'sliding_attention'] };
    expect(parseConfig({ ...qwen2, ...types }).windows).toEqual([4, undefined, 4]);
  });

  it('knows where biases are', () => {
    const biases = (config: object) => {
      const { queryBias, outputBias, mlpBias } = parseConfig(config);
      return [queryBias, outputBias, mlpBias];
    };
    expect(biases({ ...llama, attention_bias: false, mlp_bias: undefined })).toEqual([false, false, false]);
    expect(biases(mistral)).toEqual([false, false, false]);
    expect(biases(qwen2)).toEqual([true, false, false]);
    expect(biases({ ...qwen3, attention_bias: true })).toEqual([true, true, false]);
    expect(parseConfig(qwen3)).toMatchObject({ headNorms: true, headDim: 8 });
    expect(parseConfig({ ...qwen3, head_dim: null }).headDim).toBe(128);
  });

  it.each([
    ['silu', 'silu'],
    ['gelu', 'gelu'],
    ['gelu_new', 'gelu_tanh'],
    ['gelu_pytorch_tanh', 'gelu_tanh'],
  ])('calls %s %s', (name, expected) => {
    expect(parseConfig({ ...llama, hidden_act: name }).activation).toBe(expected);
  });

  it('drops token ids that the vocabulary lacks, as small test models have them', () => {
    expect(parseConfig({ ...gpt2, bos_token_id: 50256, eos_token_id: [0, 50256, -1] })).toMatchObject({
      bosTokens: [],
      eosTokens: [0],
    });
  });

  it.each([
    ['no JSON', 'nonsense', /^FORMAT .*JSON/],
    ['no object', '[]', /^FORMAT/],
    [
      'an unknown class',
      { ...llama, architectures: ['MambaForCausalLM'] },
      /^UNSUPPORTED .*MambaForCausalLM.*LlamaForCausalLM.*GPT2LMHeadModel/,
    ],
    [
      'an unknown model type',
      { ...mistral, model_type: 'rwkv' },
      /^UNSUPPORTED .*rwkv.*llama, mistral, qwen2, qwen3, gpt2/,
    ],
    ['no architecture', {}, /^UNSUPPORTED .*model_type missing/],
    ['a model type of Object', { ...mistral, model_type: 'constructor' }, /^UNSUPPORTED/],
    ['a missing size', { ...llama, hidden_size: undefined }, /^FORMAT .*hidden_size is missing/],
    ['a size of zero', { ...llama, num_hidden_layers: 0 }, /^FORMAT .*num_hidden_layers/],
    ['a fractional size', { ...llama, intermediate_size: 1.5 }, /^FORMAT .*intermediate_size/],
    ['an absurd size', { ...llama, num_hidden_layers: 1e9 }, /^FORMAT .*num_hidden_layers/],
    ['a size in text', { ...llama, vocab_size: '61' }, /^FORMAT .*vocab_size is "61"/],
    [
      'an infinite epsilon',
      '{"model_type":"llama","hidden_size":8,"num_hidden_layers":1,"num_attention_heads":1,"vocab_size":4,"intermediate_size":8,"rms_norm_eps":1e999}',
      /^FORMAT .*rms_norm_eps/,
    ],
    ['heads that do not share', { ...llama, num_key_value_heads: 3 }, /^FORMAT .*num_key_value_heads/],
    ['more key heads than heads', { ...llama, num_key_value_heads: 8 }, /^FORMAT .*num_key_value_heads/],
    ['heads that do not divide', { ...llama, num_attention_heads: 5, num_key_value_heads: 5 }, /^FORMAT .*head_dim/],
    ['an odd head', { ...llama, head_dim: 7 }, /^FORMAT .*head_dim/],
    ['gpt2 heads that do not divide', { ...gpt2, n_head: 3 }, /^FORMAT .*n_head/],
    ['an unknown activation', { ...llama, hidden_act: 'relu' }, /^UNSUPPORTED .*hidden_act "relu".*silu/],
    [
      'yarn',
      { ...llama, rope_scaling: { rope_type: 'yarn', factor: 4 } },
      /^UNSUPPORTED .*yarn.*default, linear and llama3/,
    ],
    [
      'rope parameters by layer type',
      { ...llama, rope_parameters: { full_attention: {} } },
      /^UNSUPPORTED .*rope_parameters/,
    ],
    ['a partial rotation', { ...llama, partial_rotary_factor: 0.5 }, /^UNSUPPORTED .*partial_rotary_factor/],
    ['a missing factor', { ...llama, rope_scaling: { type: 'linear' } }, /^FORMAT .*factor is missing/],
    [
      'llama3 factors in the wrong order',
      { ...llama, rope_scaling: { ...llama.rope_scaling, high_freq_factor: 1 } },
      /^FORMAT .*high_freq_factor/,
    ],
    [
      'rotary factors of the wrong count',
      { ...llama, rope_scaling: { rope_type: 'factors', factors: [1, 2] } },
      /^FORMAT .*factors/,
    ],
    ['layer types of the wrong count', { ...qwen2, layer_types: ['full_attention'] }, /^FORMAT .*layer_types/],
    [
      'an unknown layer type',
      { ...qwen2, layer_types: ['full_attention', 'full_attention', 'linear_attention'] },
      /^UNSUPPORTED .*linear_attention/,
    ],
    [
      'a sliding layer without a window',
      { ...qwen3, layer_types: ['full_attention', 'full_attention', 'sliding_attention'] },
      /^FORMAT .*sliding_window/,
    ],
    ['packed weights', { ...llama, quantization_config: { quant_method: 'gptq' } }, /^UNSUPPORTED .*gptq/],
    ['unscaled attention', { ...gpt2, scale_attn_weights: false }, /^UNSUPPORTED .*scale_attn_weights/],
    ['a flag that is none', { ...llama, tie_word_embeddings: 1 }, /^FORMAT .*tie_word_embeddings/],
    ['a token id that is none', { ...llama, eos_token_id: 'x' }, /^FORMAT .*eos_token_id/],
  ])('refuses %s', (_, config, message) => {
    expect(refusal(config)).toMatch(message);
  });
});
