import { bert } from './architectures/bert.js';
import type { ArchitectureForm, GgufArchitecture, TensorRole } from './architectures/form.js';
import { gemmaLike } from './architectures/gemma.js';
import { gpt2 } from './architectures/gpt2.js';
import { llamaLike } from './architectures/llama.js';
import { phi2 } from './architectures/phi2.js';
import { phi3 } from './architectures/phi3.js';

export type { GgufArchitecture } from './architectures/form.js';

const FORMS: Readonly<Record<GgufArchitecture, ArchitectureForm>> = {
  llama: llamaLike('llama'),
  qwen2: llamaLike('qwen2'),
  qwen3: llamaLike('qwen3'),
  gpt2,
  gemma: gemmaLike('gemma'),
  gemma2: gemmaLike('gemma2'),
  gemma3: gemmaLike('gemma3'),
  phi2,
  phi3,
  bert,
};

export const GGUF_ARCHITECTURES = Object.keys(FORMS) as readonly GgufArchitecture[];

export function isGgufArchitecture(name: string): name is GgufArchitecture {
  return Object.hasOwn(FORMS, name);
}

/** Hugging Face `model_type` to GGUF `general.architecture`. */
export const GGUF_ARCHITECTURE_OF_MODEL_TYPE: Readonly<Record<string, GgufArchitecture>> = {
  llama: 'llama',
  mistral: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
  gpt2: 'gpt2',
  gemma: 'gemma',
  gemma2: 'gemma2',
  gemma3_text: 'gemma3',
  phi: 'phi2',
  phi3: 'phi3',
  bert: 'bert',
};

export function architectureForm(architecture: GgufArchitecture): ArchitectureForm {
  return FORMS[architecture];
}

/** Every tensor an architecture can have. */
export function tensorRoles(architecture: GgufArchitecture): readonly TensorRole[] {
  return FORMS[architecture].roles;
}
