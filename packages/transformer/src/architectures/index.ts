import { gpt2 } from './gpt2.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';

/** All architectures by `model_type`. */
export const ARCHITECTURES = { llama, mistral, qwen2, qwen3, gpt2 } as const;

export type ArchitectureName = keyof typeof ARCHITECTURES;
