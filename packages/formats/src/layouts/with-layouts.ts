import {
  type Checkpoint,
  HalftoneError,
  type JsonObject,
  type LazyQuantizedTensor,
  type ReadOptions,
  type WeightLayout,
} from '@halftone/tensor';

export interface WithLayoutsOptions extends ReadOptions {
  /** Tried in order; the first that detects its own is used. */
  readonly layouts: readonly WeightLayout[];
  /** `config.json` of the model, parsed. */
  readonly config?: JsonObject;
}

/**
 * The checkpoint with its quantized weights joined: `quantized` has them by name, `tensors` what is left. The same checkpoint
 * where no layout detects its own. Reads no weights.
 *
 * Throws `FORMAT` when two weights claim one tensor or a weight has the name of another tensor, and what the layout throws.
 */
export async function withLayouts(checkpoint: Checkpoint, options: WithLayoutsOptions): Promise<Checkpoint> {
  const { layouts, config } = options;
  const layout = layouts.find((candidate) => candidate.detect(checkpoint, config));
  if (layout === undefined) return checkpoint;
  const quantized = await layout.weights(checkpoint, config, { signal: options.signal });
  const tensors = new Map(checkpoint.tensors);
  for (const weight of quantized.values()) take(tensors, weight);
  for (const name of quantized.keys()) {
    if (tensors.has(name)) fail(layout.name, `${name} is stored twice, quantized and plain`, name);
  }
  return { ...checkpoint, tensors, quantized, close: () => checkpoint.close() };
}

function take(tensors: Map<string, unknown>, { layout, name, stored }: LazyQuantizedTensor): void {
  for (const part of stored) {
    if (!tensors.delete(part))
      fail(layout, `${name}: its tensor ${part} is missing or belongs to another weight`, part);
  }
}

function fail(where: string, message: string, name: string): never {
  throw new HalftoneError('FORMAT', message, { where, details: { name } });
}
