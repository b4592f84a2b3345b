import { type JsonObject, throwIfAborted, type WorkOptions } from '@halftone/tensor';
import { type FilePlan, type SinkFactory, writeFileSet } from '../../tensor-writer.js';
import { type OnnxDecoderWeights, WHERE } from './decoder-weights.js';
import { partReader } from './parts.js';
import { type OnnxDecoderOptions, type OnnxDecoderPlan, planOnnxDecoder } from './plan-decoder.js';

export interface WriteOnnxDecoderOptions extends OnnxDecoderOptions, WorkOptions {
  readonly createSink: SinkFactory;
}

/**
 * Writes a decoder as two files, `model.onnx` with the graph and `model.onnx_data` with the weights, which are read, packed and
 * written one at a time. Neither file appears before both are whole. Throws what `planOnnxDecoder` does, and `UNSUPPORTED` for
 * quantized weights whose zeros or scales turn out not to fit.
 */
export async function writeOnnxDecoder(
  config: JsonObject,
  weights: OnnxDecoderWeights,
  options: WriteOnnxDecoderOptions,
): Promise<OnnxDecoderPlan> {
  throwIfAborted(options.signal, WHERE);
  const plan = planOnnxDecoder(config, weights, options);
  const { fileName, graph, dataFileName, data, parts } = plan;
  const bytesOf = partReader({ signal: options.signal });
  const graphFile: FilePlan = { fileName, layout: { header: graph, tensors: [], byteLength: graph.length } };
  await writeFileSet([{ fileName: dataFileName, layout: data }], graphFile, WHERE, options.createSink, {
    signal: options.signal,
    onProgress: options.onProgress,
    data: ({ name, dtype }) => {
      const part = parts.get(name);
      return part === undefined ? new Uint8Array(0) : bytesOf(part, dtype as 'f32');
    },
  });
  return plan;
}
