import {
  type Checkpoint,
  dequantize,
  HalftoneError,
  isHalftoneError,
  type JsonObject,
  type LazyTensor,
  type PackedTensor,
  type QuantizedTensor,
  throwIfAborted,
  type WeightLayout,
  type WorkOptions,
} from '@halftone/tensor';
import { exactFloats } from './internal/affine-weight.js';
import { lazyParts, type SplitParts } from './internal/lazy-parts.js';
import { keepingLast } from './keeping-last.js';
import { quantizedWeights } from './quantized-weights.js';

export interface StoreInLayoutOptions extends WorkOptions {
  readonly layout: WeightLayout;
  /**
   * The weights that the layout is to hold. Quantized ones that are not among them are stored as floats that hold their values
   * exactly; those among them that are not quantized are listed in the configuration as such.
   */
  readonly weights: readonly string[];
  /** Embedding tables and heads: held where the layout can, else stored as floats. Default: none. */
  readonly embeddings?: readonly string[];
}

/** A checkpoint in another layout: plain tensors and metadata that any safetensors writer takes. */
export interface StoredInLayout {
  readonly checkpoint: Checkpoint;
  /** Keys to set in `config.json`. */
  readonly config: JsonObject;
  /** Weights that are held in the layout. */
  readonly repacked: readonly string[];
}

/**
 * The exact repacking of a checkpoint's quantized weights, from their layout or from ggml blocks, to another layout. Reads every
 * quantized weight once, so that what cannot be held is refused before anything is written, and again when its tensors are read.
 * Memory: one weight.
 *
 * Throws `UNSUPPORTED` naming weights and reasons. Closing the result closes the checkpoint.
 */
export async function storeInLayout(checkpoint: Checkpoint, options: StoreInLayoutOptions): Promise<StoredInLayout> {
  const { layout, weights, embeddings = [] } = options;
  const { writer } = layout;
  if (writer === undefined) {
    throw new HalftoneError('UNSUPPORTED', `${layout.name} is read but not written; choose another layout`, {
      where: layout.name,
    });
  }
  const wanted = new Set(weights);
  const split = keepingLast<SplitParts>(async (weight, readOptions) => {
    const q = await weight.read(readOptions);
    if (wanted.has(weight.name)) return writer.split(weight.name, q);
    const held = embeddings.includes(weight.name) ? unlessUnsupported(() => writer.split(weight.name, q)) : undefined;
    return held ?? asFloats(weight.name, q, layout.name);
  });

  const quantized = quantizedWeights(checkpoint);
  const tensors = new Map<string, LazyTensor>();
  const settings = new Map<string, JsonObject>();
  const reasons = new Map<string, string>();
  for (const weight of quantized.values()) {
    throwIfAborted(options.signal, layout.name);
    options.onProgress?.({ stage: 'check', done: settings.size + reasons.size, total: quantized.size });
    try {
      const parts = await split(weight, { signal: options.signal });
      if (parts.settings !== undefined) settings.set(weight.name, parts.settings);
      for (const part of lazyParts(weight, parts.tensors, split)) tensors.set(part.name, part);
    } catch (error) {
      if (!isHalftoneError(error) || error.code !== 'UNSUPPORTED') throw error;
      reasons.set(weight.name, error.message);
    }
  }
  if (reasons.size > 0) throw refusal(layout.name, reasons);
  if (settings.size === 0) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `no weight is quantized; quantize the model before storing it as ${layout.name}`,
      {
        where: layout.name,
      },
    );
  }
  for (const tensor of checkpoint.tensors.values()) if (!quantized.has(tensor.name)) tensors.set(tensor.name, tensor);
  const { quantized: _, ...rest } = checkpoint;
  const metadata = new Map(Object.entries(writer.metadata?.(settings) ?? {}));
  return {
    checkpoint: { ...rest, format: 'safetensors', metadata, tensors, close: () => checkpoint.close() },
    config: writer.config(
      settings,
      [...new Set([...weights, ...embeddings])].filter((name) => !settings.has(name)),
    ),
    repacked: [...settings.keys()],
  };
}

/** A weight that the layout does not hold, as the smallest floats that hold its values. */
function asFloats(name: string, q: QuantizedTensor, where: string): SplitParts {
  const values: PackedTensor = exactFloats(dequantize(q), ['bf16', 'f16', 'f32'], q.shape, name, where);
  return { tensors: new Map([[name, values]]) };
}

function unlessUnsupported<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!isHalftoneError(error) || error.code !== 'UNSUPPORTED') throw error;
    return undefined;
  }
}

function refusal(where: string, reasons: ReadonlyMap<string, string>): HalftoneError {
  const shown = [...reasons].slice(0, 3).map(([name, reason]) => `${name}: ${reason}`);
  if (reasons.size > 3) shown.push(`and ${reasons.size - 3} more`);
  return new HalftoneError('UNSUPPORTED', `${reasons.size} weights cannot be stored exactly: ${shown.join('; ')}`, {
    where,
    details: { refused: [...reasons.keys()] },
  });
}
