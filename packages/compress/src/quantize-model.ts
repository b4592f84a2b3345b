import {
  HalftoneError,
  type InputStatistics,
  isHalftoneError,
  type KernelBackend,
  throwIfAborted,
  type WorkOptions,
} from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';
import { type CalibrationWalk, startCalibration } from './calibrate.js';
import { decodedSource } from './decoded-source.js';
import { jobFingerprint } from './fingerprint.js';
import { ggufOutput } from './gguf-output.js';
import type { JobOutput } from './output.js';
import type { OutputFormat, OutputPlan, PlannedTensor } from './plan.js';
import type { Recipe } from './recipe.js';
import { type TensorReport, writeTensor } from './write-tensor.js';

export interface Calibration {
  /** Token sequences, each no longer than the context. Never the text that judges the result. */
  readonly sequences: readonly Int32Array[];
  readonly backend: KernelBackend;
}

export interface QuantizeModelOptions extends WorkOptions {
  readonly recipe: Recipe;
  readonly output: JobOutput;
  /** Default `ggufOutput`. */
  readonly format?: OutputFormat;
  /** Needed by recipes with `needs`. */
  readonly calibration?: Calibration;
  /** `general.name` of a GGUF file. */
  readonly name?: string;
  /** Elements held as float32 at a time. Default 4 Mi. */
  readonly chunkElements?: number;
}

export interface QuantizeReport {
  readonly recipe: string;
  readonly format: string;
  /** Of all files. */
  readonly bytes: number;
  readonly elements: number;
  /** `8 * tensor bytes / elements` over all tensors. */
  readonly bitsPerWeight: number;
  /** Tensors taken over from an unfinished run of the same job. */
  readonly resumed: number;
  readonly seconds: number;
  readonly layers: readonly TensorReport[];
}

/**
 * Streams a model through a recipe into an output: one row range of one tensor in memory at a time, and during calibration one
 * block. The result appears only when it is whole. A run that was killed or aborted resumes from the last durable tensor and
 * gives the same bytes; after any other error nothing is left behind.
 *
 * Throws what reading the source throws, `NUMERIC` naming the first weight that is not finite, `RANGE` when the recipe needs
 * calibration and none is given, `IO` from the output, `ABORTED`.
 */
export async function quantizeModel(model: ModelSource, options: QuantizeModelOptions): Promise<QuantizeReport> {
  const source = decodedSource(model);
  const { recipe, output, format = ggufOutput } = options;
  const start = performance.now();
  requireCalibration(recipe, options.calibration);
  const plan = format.plan(source, recipe, { name: options.name });
  const fingerprint = await jobFingerprint(plan, recipe, options.calibration?.sequences);
  throwIfAborted(options.signal, 'compress');
  const finished = (await output.begin({ fingerprint, files: plan.files })) as readonly TensorReport[];
  try {
    const layers = await writePlan(source, plan, finished, options);
    await output.commit();
    return summarize(plan, recipe, layers, finished.length, (performance.now() - start) / 1000);
  } catch (error) {
    if (!isHalftoneError(error) || error.code !== 'ABORTED') {
      await output.discard();
      throw error;
    }
    await output.suspend();
    throw new HalftoneError('ABORTED', 'the work was cancelled; start the same job again and it goes on where it was', {
      where: 'compress',
      cause: error,
    });
  }
}

async function writePlan(
  source: ModelSource,
  plan: OutputPlan,
  finished: readonly TensorReport[],
  options: QuantizeModelOptions,
): Promise<TensorReport[]> {
  const { output, signal, onProgress, chunkElements } = options;
  for (const { file, offset, bytes } of plan.fixed) await output.write(file, offset, bytes);
  const statisticsOf = await blockStatistics(source, options);
  const layers = [...finished];
  for (const planned of plan.tensors.slice(finished.length)) {
    throwIfAborted(signal, 'compress');
    const statistics = await statisticsOf(planned);
    const report = await writeTensor(planned, output, { statistics, chunkElements, signal });
    await output.finishPiece(report);
    layers.push(report);
    onProgress?.({ stage: 'quantize', done: layers.length, total: plan.tensors.length });
  }
  return layers;
}

/** Gives the statistics of a tensor, walking the calibration text through the blocks as far as its block. */
async function blockStatistics(
  source: ModelSource,
  options: QuantizeModelOptions,
): Promise<(planned: PlannedTensor) => Promise<InputStatistics | undefined>> {
  const { recipe, calibration, signal, onProgress } = options;
  if (!calibration || recipe.needs.length === 0) return async () => undefined;
  const walk: CalibrationWalk = await startCalibration(source, {
    ...calibration,
    needs: recipe.needs,
    signal,
    onProgress,
  });
  let current: ReadonlyMap<string, InputStatistics> = new Map();
  return async ({ place, sourceName }) => {
    if (place.block === undefined || sourceName === undefined) return undefined;
    while (walk.position <= place.block) current = await walk.collectAndAdvance();
    return current.get(sourceName);
  };
}

function requireCalibration(recipe: Recipe, calibration: Calibration | undefined): void {
  if (recipe.needs.length === 0 || calibration) return;
  throw new HalftoneError(
    'RANGE',
    `recipe ${recipe.name} needs the statistics ${recipe.needs.join(', ')}; give it calibration text`,
    { where: 'compress', details: { recipe: recipe.name, needs: recipe.needs } },
  );
}

function summarize(
  plan: OutputPlan,
  recipe: Recipe,
  layers: readonly TensorReport[],
  resumed: number,
  seconds: number,
): QuantizeReport {
  const elements = layers.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  const tensorBytes = layers.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    recipe: recipe.name,
    format: plan.format,
    bytes: plan.files.reduce((sum, { byteLength }) => sum + byteLength, 0),
    elements,
    bitsPerWeight: (8 * tensorBytes) / elements,
    resumed,
    seconds,
    layers,
  };
}
