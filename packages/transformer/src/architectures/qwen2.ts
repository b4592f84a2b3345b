import { type LlamaVariant, llamaFamilyGraph, parseLlamaFamily } from '../internal/llama-family.js';
import type { Architecture } from './architecture.js';

const VARIANT: LlamaVariant = {
  architecture: 'qwen2',
  contextLength: 32_768,
  windows: 'qwen',
  biases: () => ({ query: true, output: false, mlp: false }),
  headNorms: false,
};

/** Qwen2 and Qwen2.5: llama with biases on query, key and value (arXiv 2407.10671; transformers' modeling_qwen2.py). */
export const qwen2: Architecture = {
  classNames: ['Qwen2ForCausalLM', 'Qwen2Model'],
  prefix: 'model.',
  parse: (json) => parseLlamaFamily(json, VARIANT),
  graph: llamaFamilyGraph,
};
