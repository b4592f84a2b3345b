import { ggml, ggmlMixture, MIXTURE_NAMES, type MixtureName, type TensorRole } from '@halftone/quantizers';
import { isGgmlType } from '@halftone/tensor';
import type { Recipe, RecipeTensor, Treatment } from './recipe.js';

export interface RecipeOptions {
  /** Weigh errors by the inputs' mean squares (llama.cpp's importance matrix). Needs calibration. Default false. */
  readonly importance?: boolean;
}

/** Names that `parseRecipe` knows. */
export const RECIPE_NAMES: readonly string[] = MIXTURE_NAMES;

/**
 * A recipe by name: a ggml mixture (`Q4_K_M`, `Q8_0`, ...) or a float type (`F16`).
 * Case does not matter. Throws `UNSUPPORTED` listing the names.
 */
export function parseRecipe(name: string, options: RecipeOptions = {}): Recipe {
  return mixtureRecipe(name.toUpperCase() as MixtureName, options);
}

/** llama.cpp's mixture `name`, its blocks encoded by our quantizers. */
export function mixtureRecipe(name: MixtureName, { importance = false }: RecipeOptions = {}): Recipe {
  const mixture = ggmlMixture(name);
  const quantized = isGgmlType(mixture.base);
  return {
    name: mixture.name,
    description: quantized ? `llama.cpp's mixture ${mixture.name}` : `floats stored as ${mixture.name}`,
    needs: importance && quantized ? ['inputSquares'] : [],
    ggufFileType: mixture.fileType,
    treat: (tensor) =>
      treatment(mixture.storageType(mixtureTensor(tensor), mixtureModel(tensor, importance)), importance),
  };
}

function treatment(storage: Treatment['storage'], importance: boolean): Treatment {
  return isGgmlType(storage)
    ? { storage, quantizer: ggml(storage, importance ? {} : { importance: false }) }
    : { storage };
}

function mixtureTensor({ role, shape, block }: RecipeTensor) {
  return { role: role as TensorRole, shape, layer: block };
}

function mixtureModel({ model }: RecipeTensor, importance: boolean) {
  return {
    layers: model.blocks,
    heads: model.heads,
    kvHeads: model.kvHeads,
    tiedHead: model.tiedHead,
    importance,
  };
}
