import { applyGgufTransform, createGgufWriter, huggingFaceToGguf } from '@halftone/formats';
import { fileSink } from '@halftone/formats/node';
import { type DType, decode, encode, type GgmlType, type LazyTensor, type PackedTensor } from '@halftone/tensor';
import type { ModelSource } from '../src/index.js';

/** How matrices are stored: the blocks of `[rows, columns]` values. */
export interface MatrixBlocks {
  readonly type: GgmlType;
  encode(values: Float32Array, rows: number, columns: number): Uint8Array;
}

/** Writes a float model as GGUF, all weights in F32, or all matrices in ggml blocks. */
export async function writeFloatGguf(
  source: ModelSource,
  path: string,
  { blocks, ...options }: { readonly pre?: string; readonly blocks?: MatrixBlocks } = {},
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
    const dtype = blocks === undefined || tensor.shape.length !== 2 ? 'f32' : blocks.type;
    return { name: tensor.ggufName, shape: tensor.shape, dtype, lazy } as const;
  });
  const extra = plan.extraTensors.map(
    ({ ggufName, shape, values }) => ({ name: ggufName, shape, dtype: 'f32', values }) as const,
  );
  const writer = createGgufWriter(await fileSink(path), { metadata: plan.metadata, tensors: [...planned, ...extra] });
  for (const { name, shape, dtype, lazy } of planned) {
    const values = decode((await lazy.read()) as PackedTensor<DType>);
    const stored =
      dtype === blocks?.type ? blocks.encode(values, shape[0], shape[1]) : encode(values, 'f32', shape).bytes;
    await writer.writeTensor(name, stored);
  }
  for (const { name, shape, values } of extra) await writer.writeTensor(name, encode(values, 'f32', shape).bytes);
  await writer.finish();
}
