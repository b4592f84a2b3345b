import type { Awaitable, BlockKernels, NormNode } from '@halftone/tensor';
import type { ModelSource } from '../model-source.js';
import { type LoadOptions, loadVector } from '../weights.js';

/** A norm with its parameters in the memory of the kernels. */
export interface NormLayer {
  /** `out` may be `x`. */
  run(x: Float32Array, rows: number, out: Float32Array): Awaitable<void>;
  dispose(): void;
}

export async function loadNorm(
  source: ModelSource,
  node: NormNode,
  kernels: BlockKernels,
  options: LoadOptions,
): Promise<NormLayer> {
  const { features, epsilon } = node;
  const gainValues = await loadVector(source, node.gain, features, options);
  const biasValues = node.bias === undefined ? undefined : await loadVector(source, node.bias, features, options);
  const parameters = kernels.allocate(biasValues === undefined ? features : 2 * features);
  parameters.set(gainValues);
  if (biasValues !== undefined) parameters.set(biasValues, features);
  const gain = parameters.subarray(0, features);
  const bias = biasValues && parameters.subarray(features);
  return {
    run:
      node.kind === 'rms'
        ? (x, rows, out) => kernels.rmsNorm(x, rows, features, gain, epsilon, out)
        : (x, rows, out) => kernels.layerNorm(x, rows, features, gain, bias, epsilon, out),
    dispose: () => kernels.free(parameters),
  };
}
