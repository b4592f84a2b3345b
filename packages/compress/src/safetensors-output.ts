import { decodeGgml, safetensorsLayout, transposeLazy } from '@halftone/formats';
import {
  type DType,
  elementCount,
  encode,
  type GgmlType,
  HalftoneError,
  isGgmlType,
  type LazyTensor,
  type PackedTensor,
} from '@halftone/tensor';
import { ARCHITECTURES, type ModelSource } from '@halftone/transformer';
import { type OutputFormat, type OutputPlan, type PlannedBytes, recipeModel } from './plan.js';
import type { Recipe } from './recipe.js';
import { tensorPlaces } from './roles.js';

/** A folder in the Hugging Face layout: `model.safetensors` with float weights, `config.json`, tokenizer files. */
export const safetensorsOutput: OutputFormat = { name: 'safetensors', plan };

const TORCH_DTYPES: Partial<Record<DType, string>> = { f32: 'float32', f16: 'float16', bf16: 'bfloat16' };

function plan(source: ModelSource, recipe: Recipe): OutputPlan {
  const places = tensorPlaces(source.graph);
  const facts = recipeModel(source);
  const turned = turnedWeights(source);
  const tensors = [...source.checkpoint.tensors.values()].map((tensor: LazyTensor) => {
    const place = places.get(tensor.name) ?? { role: 'other' };
    const treatment = recipe.treat({
      name: tensor.name,
      shape: tensor.shape,
      stored: tensor.dtype,
      model: facts,
      ...place,
    });
    requireFloat(tensor.name, treatment.storage, recipe);
    const stored = turned.has(tensor.name) && isPlain(tensor) ? transposeLazy(decodedBlocks(tensor)) : tensor;
    return { name: tensor.name, sourceName: tensor.name, source: stored, place, treatment };
  });
  const layout = safetensorsLayout(
    tensors.map(({ name, source, treatment }) => ({ name, dtype: treatment.storage, shape: source.shape })),
    { metadata: { format: 'pt', ...fileMetadata(source) } },
  );
  const placement = new Map(layout.tensors.map((tensor) => [tensor.name, tensor]));
  const side = sideFiles(source, recipe);
  const files = [{ name: 'model.safetensors', byteLength: layout.byteLength }];
  const fixed: PlannedBytes[] = [{ file: 0, offset: 0, bytes: layout.header }];
  for (const [name, bytes] of side) {
    fixed.push({ file: files.length, offset: 0, bytes });
    files.push({ name, byteLength: bytes.byteLength });
  }
  return {
    format: 'safetensors',
    files,
    fixed,
    tensors: tensors.map((tensor) => {
      const { offset, byteLength } = placement.get(tensor.name) as { offset: number; byteLength: number };
      return { ...tensor, file: 0, offset, byteLength };
    }),
  };
}

/** Weights that the source has `[out, in]`, as GGUF does, and Hugging Face's checkpoints of this architecture `[in, out]`. */
function turnedWeights({ config, weightsTransposed }: ModelSource): ReadonlySet<string> {
  if (weightsTransposed) return new Set();
  const { graph, prefix } = ARCHITECTURES[config.architecture];
  const blocks = [prefix, ''].flatMap((start) => graph(config, start).blocks);
  const linears = blocks.flatMap((block) => block.linears.filter((linear) => linear.storedTransposed));
  return new Set(linears.map((linear) => linear.weight));
}

/** Layouts give their codes the name of the weight, always as `[out, in]`. */
function isPlain({ dtype }: LazyTensor): boolean {
  return isGgmlType(dtype) || ['f64', 'f32', 'f16', 'bf16'].includes(dtype);
}

function decodedBlocks(tensor: LazyTensor): LazyTensor {
  if (!isGgmlType(tensor.dtype)) return tensor;
  const read: LazyTensor['read'] = async (rows, options) => {
    const blocks = (await tensor.read(rows, { signal: options?.signal })) as PackedTensor<GgmlType>;
    return encode(decodeGgml(blocks), 'f32', blocks.shape);
  };
  return { ...tensor, dtype: 'f32', byteLength: 4 * elementCount(tensor.shape), read };
}

/** What a safetensors source says about itself: layouts may describe their tensors there. */
function fileMetadata({ checkpoint }: ModelSource): Record<string, string> {
  if (checkpoint.format !== 'safetensors') return {};
  return Object.fromEntries(Array.from(checkpoint.metadata, ([key, value]) => [key, String(value)]));
}

function requireFloat(name: string, storage: string, recipe: Recipe): void {
  if (!isGgmlType(storage)) return;
  throw new HalftoneError(
    'UNSUPPORTED',
    `recipe ${recipe.name} stores ${name} as ${storage}, which safetensors cannot hold; write a .gguf file, name a layout, or decode to F32, F16 or BF16`,
    { where: 'safetensors', details: { tensor: name, storage } },
  );
}

function sideFiles(source: ModelSource, recipe: Recipe): [string, Uint8Array][] {
  const { configJson, generationConfig, tokenizer, config } = source;
  const storage = recipe.treat({
    name: source.graph.embedding,
    shape: [config.vocabSize, config.hiddenSize],
    stored: source.checkpoint.tensors.get(source.graph.embedding)?.dtype ?? 'f32',
    model: recipeModel(source),
    role: 'token-embedding',
  }).storage;
  const dtype = TORCH_DTYPES[storage as DType];
  const files: [string, object | undefined][] = [
    ['config.json', dtype ? { ...configJson, torch_dtype: dtype } : configJson],
    ['generation_config.json', generationConfig],
    ['tokenizer.json', tokenizer?.tokenizerJson],
    ['tokenizer_config.json', tokenizer?.tokenizerConfig],
  ];
  return files
    .filter((file): file is [string, object] => file[1] !== undefined)
    .map(([name, json]) => [name, new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`)]);
}
