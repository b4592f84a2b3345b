import { keepingLast, type WeightReader } from '@halftone/formats/layouts';
import { dequantize, type LazyQuantizedTensor, type LazyTensor, type RowRange } from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';

/**
 * The model with the weights of a layout (GPTQ, AWQ, ...) decoded to float32 when they are read, in the orientation that the
 * architecture stores. The same model where there are none. Memory: the last weight that was read, decoded.
 */
export function decodedSource(source: ModelSource): ModelSource {
  const { quantized, ...checkpoint } = source.checkpoint;
  if (quantized === undefined) return source;
  const linears = source.graph.blocks.flatMap((block) => block.linears);
  const conv1d = new Set(linears.filter((linear) => linear.storedTransposed).map((linear) => linear.weight));
  const decode = keepingLast(async (weight, options) => dequantize(await weight.read(options)));
  const tensors = new Map(checkpoint.tensors);
  for (const weight of quantized.values()) {
    tensors.set(weight.name, decodedTensor(weight, conv1d.has(weight.name), decode));
  }
  return { ...source, checkpoint: { ...checkpoint, tensors, close: () => source.checkpoint.close() } };
}

function decodedTensor(
  weight: LazyQuantizedTensor,
  transposed: boolean,
  decode: WeightReader<Float32Array>,
): LazyTensor<'f32'> {
  const [out, input] = weight.shape as readonly [number, number];
  const [rows, columns] = transposed ? [input, out] : [out, input];
  return {
    kind: 'lazy',
    name: weight.name,
    dtype: 'f32',
    shape: [rows, columns],
    byteLength: rows * columns * 4,
    async read({ start, end }: RowRange = { start: 0, end: rows }, options) {
      const values = await decode(weight, { signal: options?.signal });
      const part = values.slice(start * columns, end * columns);
      if (transposed) {
        for (let row = start, to = 0; row < end; row++) {
          for (let column = 0; column < columns; column++) part[to++] = values[column * rows + row] as number;
        }
      }
      const bytes = new Uint8Array(part.buffer);
      options?.into?.set(bytes);
      return { kind: 'packed', dtype: 'f32', shape: [end - start, columns], bytes: options?.into ?? bytes };
    },
  };
}
