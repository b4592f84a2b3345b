import { applyGgufTransform, createGgufWriter, huggingFaceToGguf } from '@halftone/formats';
import { fileSink } from '@halftone/formats/node';
import { type DType, decode, encode, type LazyTensor, type PackedTensor } from '@halftone/tensor';
import type { ModelSource } from '../src/index.js';

/** Writes a float model as GGUF, all weights in F32. */
export async function writeFloatGguf(
  source: ModelSource,
  path: string,
  options: { readonly pre?: string } = {},
): Promise<void> {
  const { tokenizer, checkpoint, configJson, weightsTransposed } = source;
  const plan = huggingFaceToGguf({
    configJson,
    tensors: checkpoint.tensors,
    conv1dTransposed: weightsTransposed,
    tokenizerJson: tokenizer?.tokenizerJson,
    tokenizerConfig: tokenizer?.tokenizerConfig,
    chatTemplate: tokenizer?.chatTemplate,
    name: 'test',
    ...options,
  });
  const planned = plan.tensors.map((tensor) => {
    const lazy = applyGgufTransform(checkpoint.tensors.get(tensor.hfName) as LazyTensor, tensor.transform);
    return { name: tensor.ggufName, shape: tensor.shape, dtype: 'f32', lazy } as const;
  });
  const extra = plan.extraTensors.map(
    ({ ggufName, shape, values }) => ({ name: ggufName, shape, dtype: 'f32', values }) as const,
  );
  const writer = createGgufWriter(await fileSink(path), { metadata: plan.metadata, tensors: [...planned, ...extra] });
  for (const { name, shape, lazy } of planned) {
    const values = decode((await lazy.read()) as PackedTensor<DType>);
    await writer.writeTensor(name, encode(values, 'f32', shape).bytes);
  }
  for (const { name, shape, values } of extra) await writer.writeTensor(name, encode(values, 'f32', shape).bytes);
  await writer.finish();
}
