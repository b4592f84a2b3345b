import { basename, dirname, join, resolve } from 'node:path';
import { quantizedWeights } from '@halftone/formats/layouts';
import { fileSink } from '@halftone/formats/node';
import { writeOnnxDecoder } from '@halftone/formats/onnx';
import type { WorkOptions } from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';

/**
 * Writes a model as an ONNX graph with its weights beside it, `<out>_data`. Gives the bytes of both files.
 * Quantized linear layers become MatMulNBits nodes, exactly or not at all; floats keep their type in the file.
 */
export async function writeOnnx(source: ModelSource, out: string, work: WorkOptions): Promise<number> {
  const { checkpoint, configJson, weightsTransposed } = source;
  const quantized = quantizedWeights(checkpoint);
  const tensors = new Map([...checkpoint.tensors].filter(([name]) => !quantized.has(name)));
  const path = resolve(out);
  let bytes = 0;
  await writeOnnxDecoder(
    configJson,
    { tensors, quantized },
    {
      ...work,
      floats: 'stored',
      fileName: basename(path),
      conv1dTransposed: weightsTransposed,
      createSink: (name, expectedBytes) => {
        bytes += expectedBytes;
        return fileSink(join(dirname(path), name), { expectedBytes });
      },
    },
  );
  return bytes;
}
