import {
  type Checkpoint,
  type LazyQuantizedTensor,
  packed,
  type QuantizedTensor,
  type Scheme,
  type WeightLayout,
} from '@halftone/tensor';
import {
  checkPart,
  namesWithout,
  quantMethod,
  readPart,
  refuse,
  storedPart,
  storedWeight,
} from './internal/stored-weight.js';

const WHERE = 'mxfp4';

/** Elements that share a scale, and the bytes that they take. */
const GROUP = 32;
const GROUP_BYTES = 16;

/**
 * The experts of gpt-oss: `X_blocks` u8 `[experts, out, groups, 16]`, two E2M1 elements a byte, the first in the low bits, and
 * `X_scales` u8 `[experts, out, groups]`, exponents of two (E8M0). Read as weight `X` of shape `[experts, out, in]`; the model
 * keeps the decoded weight as `[experts, in, out]`. Only read.
 *
 * Source: transformers, `integrations/mxfp4.py` (`convert_moe_packed_tensors`).
 */
export const mxfp4: WeightLayout = {
  name: WHERE,
  detect(checkpoint, config) {
    if ((quantMethod(config) ?? WHERE) !== WHERE) return false;
    return namesWithout(checkpoint, '_blocks').some((name) => {
      const blocks = checkpoint.tensors.get(`${name}_blocks`);
      const scales = checkpoint.tensors.get(`${name}_scales`);
      return blocks?.dtype === 'u8' && scales?.dtype === 'u8' && blocks.shape.length === scales.shape.length + 1;
    });
  },
  weights(checkpoint) {
    const found = namesWithout(checkpoint, '_blocks').map((name) => mxfp4Weight(checkpoint, name));
    return new Map(found.map((weight) => [weight.name, weight]));
  },
};

function mxfp4Weight(checkpoint: Checkpoint, name: string): LazyQuantizedTensor {
  const blocks = storedPart(checkpoint, `${name}_blocks`, WHERE);
  const scales = storedPart(checkpoint, `${name}_scales`, WHERE);
  const groups = blocks.shape[blocks.shape.length - 2];
  const leading = blocks.shape.slice(0, -2);
  if (groups === undefined || leading.length === 0) {
    refuse('FORMAT', WHERE, blocks.name, `shape [${blocks.shape}] should be [experts, out, groups, ${GROUP_BYTES}]`);
  }
  checkPart(blocks, ['u8'], [[...leading, groups, GROUP_BYTES]], WHERE);
  checkPart(scales, ['u8'], [[...leading, groups]], WHERE);
  const shape = [...leading, groups * GROUP];
  const scheme: Scheme = {
    name: WHERE,
    version: 1,
    grid: { type: 'float', exponent: 2, mantissa: 1, bias: 1 },
    granularity: { type: 'group', axis: shape.length - 1, size: GROUP },
  };
  return storedWeight({
    layout: WHERE,
    name,
    shape,
    scheme,
    parts: [blocks, scales],
    async read(options): Promise<QuantizedTensor> {
      const codes = packed('f4_e2m1', shape, (await readPart(blocks, options)).bytes);
      const exponents = packed('f8_e8m0', scales.shape, (await readPart(scales, options)).bytes);
      return { kind: 'quantized', shape, scheme, parts: { codes, scales: exponents } };
    },
  });
}
