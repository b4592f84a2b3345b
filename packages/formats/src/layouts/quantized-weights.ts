import { type Checkpoint, isGgmlType, type LazyQuantizedTensor, type LazyTensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { unpackGgml } from '../ggml/codecs.js';

/**
 * Every quantized weight of a checkpoint in one form: those of its layout, and matrices of ggml blocks. Reads no weights.
 */
export function quantizedWeights(checkpoint: Checkpoint): ReadonlyMap<string, LazyQuantizedTensor> {
  const weights = new Map(checkpoint.quantized);
  for (const tensor of checkpoint.tensors.values()) {
    if (isGgmlType(tensor.dtype) && tensor.shape.length === 2) weights.set(tensor.name, fromBlocks(tensor));
  }
  return weights;
}

function fromBlocks(stored: LazyTensor): LazyQuantizedTensor {
  const { name, dtype, shape, byteLength } = stored;
  return {
    kind: 'lazy-quantized',
    name,
    shape,
    scheme: GGML_SCHEMES[dtype as keyof typeof GGML_SCHEMES],
    layout: 'ggml',
    stored: [name],
    byteLength,
    read: async (options) => unpackGgml(await stored.read(undefined, { signal: options?.signal })),
  };
}
