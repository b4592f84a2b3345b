export {
  type BlockStatistics,
  type CalibrationOptions,
  type CalibrationWalk,
  calibrate,
  calibrationSequences,
  startCalibration,
} from './calibrate.js';
export { collectorFor, hessian, inputAbsMax, inputAbsMean, inputSquares } from './collectors.js';
export { decodedSource } from './decoded-source.js';
export { ggufOutput } from './gguf-output.js';
export { type JobOutput, memoryOutput, type OutputFile, type OutputJob } from './output.js';
export { type OutputFormat, type OutputPlan, type PlannedBytes, type PlannedTensor, recipeModel } from './plan.js';
export { type Calibration, type QuantizeModelOptions, type QuantizeReport, quantizeModel } from './quantize-model.js';
export type { Recipe, RecipeModel, RecipeTensor, Treatment } from './recipe.js';
export { mixtureRecipe, parseRecipe, RECIPE_NAMES, type RecipeOptions } from './recipes.js';
export { type TensorPlace, tensorPlaces } from './roles.js';
export { safetensorsOutput } from './safetensors-output.js';
export { asStored, inGgmlBlocks, inLayout } from './stored-source.js';
export type { WeightError } from './weight-error.js';
export type { TensorReport } from './write-tensor.js';
