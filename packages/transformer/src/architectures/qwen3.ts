import { flag } from '../internal/config-fields.js';
import { type LlamaVariant, llamaFamilyGraph, parseLlamaFamily } from '../internal/llama-family.js';
import type { Architecture } from './architecture.js';

const VARIANT: LlamaVariant = {
  architecture: 'qwen3',
  contextLength: 32_768,
  windows: 'qwen',
  biases: (json) => {
    const attention = flag(json, 'attention_bias', false);
    return { query: attention, output: attention, mlp: false };
  },
  headNorms: true,
  headDim: 128,
};

/** Qwen3: llama with RMSNorm on each query and key head (arXiv 2505.09388; transformers' modeling_qwen3.py). */
export const qwen3: Architecture = {
  classNames: ['Qwen3ForCausalLM', 'Qwen3Model'],
  prefix: 'model.',
  parse: (json) => parseLlamaFamily(json, VARIANT),
  graph: llamaFamilyGraph,
};
