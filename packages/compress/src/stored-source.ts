import { repackAsGgml, transposeLazy } from '@halftone/formats';
import { keepingLast, storeInLayout, type WeightReader } from '@halftone/formats/layouts';
import {
  type GgmlType,
  HalftoneError,
  isHalftoneError,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  rowByteLength,
  throwIfAborted,
  type WeightLayout,
  type WorkOptions,
} from '@halftone/tensor';
import { type ModelSource, modelSource } from '@halftone/transformer';
import type { Recipe } from './recipe.js';

/** Every weight as the source stores it: changes containers and nothing else. */
export const asStored: Recipe = {
  name: 'as stored',
  description: 'weights as they are stored',
  needs: [],
  treat: ({ stored }) => ({ storage: stored }),
};

/**
 * The model with the weights of its layout (GPTQ, AWQ, ...) in the ggml blocks that hold them exactly. Reads every quantized weight
 * once, and again when its blocks are read; memory: one weight. The same model where it has no layout. All linear weights of the result are `[out, in]`, GPT-2's too.
 *
 * Throws `UNSUPPORTED` naming the weights that no ggml type holds, with the reasons.
 */
export async function inGgmlBlocks(source: ModelSource, options: WorkOptions = {}): Promise<ModelSource> {
  const { quantized, ...checkpoint } = source.checkpoint;
  if (quantized === undefined) return source;
  const tensors = new Map(checkpoint.tensors);
  const repack = keepingLast(async (weight, readOptions) => repackAsGgml(await weight.read(readOptions)));
  const reasons: string[] = [];
  let done = 0;
  for (const weight of quantized.values()) {
    throwIfAborted(options.signal, 'convert');
    options.onProgress?.({ stage: 'check', done: done++, total: quantized.size });
    try {
      const blocks = await repack(weight, { signal: options.signal });
      tensors.set(weight.name, blocksTensor(weight, blocks, repack));
    } catch (error) {
      if (!isHalftoneError(error) || error.code !== 'UNSUPPORTED') throw error;
      reasons.push(`${weight.name}: ${error.message}`);
    }
  }
  if (reasons.length > 0) {
    const more = reasons.length > 3 ? `; and ${reasons.length - 3} more` : '';
    throw new HalftoneError(
      'UNSUPPORTED',
      `${reasons.length} weights fit in no ggml type exactly: ${reasons.slice(0, 3).join('; ')}${more}`,
      { where: 'convert' },
    );
  }
  for (const { weight, storedTransposed } of source.graph.blocks.flatMap((block) => block.linears)) {
    const plain = storedTransposed ? checkpoint.tensors.get(weight) : undefined;
    if (plain !== undefined) tensors.set(weight, transposeLazy(plain));
  }
  const blocks = { ...checkpoint, tensors, close: () => source.checkpoint.close() };
  return modelSource({ ...source, checkpoint: blocks, conv1dTransposed: false });
}

function blocksTensor(
  weight: LazyQuantizedTensor,
  { dtype, shape, bytes }: PackedTensor<GgmlType>,
  repack: WeightReader<PackedTensor<GgmlType>>,
): LazyTensor {
  const rowBytes = rowByteLength(dtype, shape[1] as number);
  return {
    kind: 'lazy',
    name: weight.name,
    dtype,
    shape,
    byteLength: bytes.length,
    async read(rows = { start: 0, end: shape[0] as number }, options) {
      const whole = await repack(weight, { signal: options?.signal });
      // A copy: what is kept must not change with what the reader does to its bytes.
      const part = whole.bytes.slice(rows.start * rowBytes, rows.end * rowBytes);
      options?.into?.set(part);
      return {
        kind: 'packed',
        dtype,
        shape: [rows.end - rows.start, shape[1] as number],
        bytes: options?.into ?? part,
      };
    },
  };
}

/**
 * The model with its quantized weights stored in a layout, as plain tensors and the `config.json` that the layout's runtime reads.
 * Throws as `storeInLayout` does.
 */
export async function inLayout(
  source: ModelSource,
  layout: WeightLayout,
  options: WorkOptions = {},
): Promise<ModelSource> {
  const { graph, checkpoint, configJson } = source;
  const weights = graph.blocks.flatMap((block) => block.linears.map((linear) => linear.weight));
  const embeddings = layout.writer?.embeddings ? [graph.embedding, graph.head.weight] : [];
  const stored = await storeInLayout(checkpoint, { layout, weights, embeddings, ...options });
  return { ...source, checkpoint: stored.checkpoint, configJson: { ...configJson, ...stored.config } };
}
