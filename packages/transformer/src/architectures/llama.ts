import { flag } from '../internal/config-fields.js';
import { type LlamaVariant, llamaFamilyGraph, parseLlamaFamily } from '../internal/llama-family.js';
import type { Architecture } from './architecture.js';

const VARIANT: LlamaVariant = {
  architecture: 'llama',
  contextLength: 2048,
  windows: 'none',
  biases: (json) => {
    const attention = flag(json, 'attention_bias', false);
    return { query: attention, output: attention, mlp: flag(json, 'mlp_bias', false) };
  },
  headNorms: false,
};

/** LLaMA 1 to 3 (arXiv 2302.13971, 2407.21783; transformers' modeling_llama.py). */
export const llama: Architecture = {
  classNames: ['LlamaForCausalLM', 'LlamaModel'],
  prefix: 'model.',
  parse: (json) => parseLlamaFamily(json, VARIANT),
  graph: llamaFamilyGraph,
};
