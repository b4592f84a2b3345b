import type { Quantizer, Shape, StatName, StorageType } from '@halftone/tensor';
import type { TensorPlace } from './roles.js';

/** A tensor of the model as a recipe sees it: shape after any transposition, `[out, in]` for linear weights. */
export interface RecipeTensor extends TensorPlace {
  readonly name: string;
  readonly shape: Shape;
  /** How the source stores it. */
  readonly stored: StorageType;
  readonly model: RecipeModel;
}

export interface RecipeModel {
  readonly architecture: string;
  readonly blocks: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly tiedHead: boolean;
}

/** What becomes of one tensor: stored as plain floats, or quantized. */
export type Treatment =
  | { readonly storage: StorageType; readonly quantizer?: undefined }
  | { readonly storage: StorageType; readonly quantizer: Quantizer };

/** A named choice of treatment for every tensor. */
export interface Recipe {
  readonly name: string;
  readonly description: string;
  /** Statistics to collect before a block is quantized. */
  readonly needs: readonly StatName[];
  /** `general.file_type` of a GGUF file made by this recipe. */
  readonly ggufFileType?: number;
  treat(tensor: RecipeTensor): Treatment;
}
