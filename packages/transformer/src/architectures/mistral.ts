import { type LlamaVariant, llamaFamilyGraph, parseLlamaFamily } from '../internal/llama-family.js';
import type { Architecture } from './architecture.js';

const VARIANT: LlamaVariant = {
  architecture: 'mistral',
  contextLength: 131_072,
  windows: 'all',
  biases: () => ({ query: false, output: false, mlp: false }),
  headNorms: false,
};

/** Mistral: llama with a sliding window over all layers (arXiv 2310.06825; transformers' modeling_mistral.py). */
export const mistral: Architecture = {
  classNames: ['MistralForCausalLM', 'MistralModel'],
  prefix: 'model.',
  parse: (json) => parseLlamaFamily(json, VARIANT),
  graph: llamaFamilyGraph,
};
