import { applyGgufTransform, type GgufMetadataEntry, ggufLayout, huggingFaceToGguf } from '@halftone/formats';
import type { LazyTensor } from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';
import { lazyFromValues, type OutputFormat, type OutputPlan, recipeModel } from './plan.js';
import type { Recipe, Treatment } from './recipe.js';
import { type TensorPlace, tensorPlaces } from './roles.js';

/** One `.gguf` file that llama.cpp loads: llama.cpp's names, row order and metadata, tokenizer included. */
export const ggufOutput: OutputFormat = { name: 'gguf', plan };

interface Candidate {
  readonly name: string;
  readonly sourceName?: string;
  readonly source: LazyTensor;
  readonly place: TensorPlace;
  readonly treatment: Treatment;
}

function plan(source: ModelSource, recipe: Recipe, options: { readonly name?: string }): OutputPlan {
  const { checkpoint, configJson, generationConfig, tokenizer, weightsTransposed } = source;
  const model = huggingFaceToGguf({
    configJson,
    tensors: checkpoint.tensors,
    conv1dTransposed: weightsTransposed,
    tokenizerJson: tokenizer?.tokenizerJson,
    tokenizerConfig: tokenizer?.tokenizerConfig,
    chatTemplate: tokenizer?.chatTemplate,
    generationConfig,
    name: options.name,
  });
  const places = tensorPlaces(source.graph);
  const facts = recipeModel(source);
  const candidates: Candidate[] = model.tensors.map(({ ggufName, hfName, shape, transform, keepFloat }) => {
    const place = places.get(hfName) ?? { role: 'other' };
    const stored = checkpoint.tensors.get(hfName) as LazyTensor;
    const tensor = { name: hfName, shape, stored: stored.dtype, model: facts, ...place };
    return {
      name: ggufName,
      sourceName: hfName,
      source: applyGgufTransform(stored, transform),
      place,
      treatment: keepFloat ? { storage: 'f32' } : recipe.treat(tensor),
    };
  });
  for (const { ggufName, shape, values } of model.extraTensors) {
    const source = lazyFromValues(ggufName, shape, values);
    candidates.push({ name: ggufName, source, place: { role: 'other' }, treatment: { storage: 'f32' } });
  }
  const layout = ggufLayout(
    [...model.metadata, ...fileType(recipe)],
    candidates.map(({ name, source, treatment }) => ({ name, dtype: treatment.storage, shape: source.shape })),
  );
  return {
    format: 'gguf',
    files: [{ name: 'model.gguf', byteLength: layout.byteLength }],
    fixed: [{ file: 0, offset: 0, bytes: layout.header }],
    tensors: candidates.map((candidate, index) => ({
      ...candidate,
      file: 0,
      offset: layout.tensors[index].offset,
      byteLength: layout.tensors[index].byteLength,
    })),
  };
}

function fileType(recipe: Recipe): GgufMetadataEntry[] {
  const value = recipe.ggufFileType;
  return value === undefined ? [] : [{ key: 'general.file_type', type: 'u32', value }];
}
