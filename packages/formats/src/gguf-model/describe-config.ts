import type { ModelDescription } from './architectures/form.js';
import { architectureForm, GGUF_ARCHITECTURE_OF_MODEL_TYPE } from './architectures.js';
import { type Json, unsupported } from './config-fields.js';

/** Reads a Hugging Face `config.json`. Throws `UNSUPPORTED` and `FORMAT` as `huggingFaceToGguf` does. */
export function describeConfig(config: Json): ModelDescription {
  const modelType = String(config.model_type);
  const architecture = Object.hasOwn(GGUF_ARCHITECTURE_OF_MODEL_TYPE, modelType)
    ? GGUF_ARCHITECTURE_OF_MODEL_TYPE[modelType]
    : undefined;
  if (architecture) return architectureForm(architecture).describe(config);
  const known = Object.keys(GGUF_ARCHITECTURE_OF_MODEL_TYPE).join(', ');
  throw unsupported(`model_type '${modelType}' is not one of ${known}`, { modelType });
}
