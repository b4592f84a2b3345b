import {
  type Checkpoint,
  type LazyQuantizedTensor,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type Scheme,
  type SplitWeight,
  type WeightLayout,
} from '@halftone/tensor';
import { refuseSideParts } from './internal/affine-weight.js';
import { exactScaleCodes, packFloatCodes } from './internal/float-groups.js';
import { refuse } from './internal/refuse.js';
import { unquantizedModules } from './internal/runtime-config.js';
import { quantizationConfig, quantMethod } from './internal/settings.js';
import { expectShape, namesBefore, needPart, storedWeight } from './internal/weight-parts.js';

const WHERE = 'mxfp4';

/** Elements that share a scale, and the bytes that they take. */
const GROUP = 32;
const GROUP_BYTES = 16;

/**
 * The experts of gpt-oss: `X_blocks` u8 `[experts, out, groups, 16]`, two E2M1 elements a byte, the first in the low bits, and
 * `X_scales` u8 `[experts, out, groups]`, exponents of two (E8M0). They are weight `X` of shape `[experts, out, in]`; the model
 * keeps the decoded weight as `[experts, in, out]`.
 *
 * Source: transformers, `integrations/mxfp4.py` (`convert_moe_packed_tensors`).
 */
export const mxfp4: WeightLayout = {
  name: WHERE,
  detect(checkpoint, config) {
    if ((quantMethod(quantizationConfig(config)) ?? WHERE) !== WHERE) return false;
    return namesBefore(checkpoint, '_blocks').some((name) => {
      const blocks = checkpoint.tensors.get(`${name}_blocks`);
      const scales = checkpoint.tensors.get(`${name}_scales`);
      return blocks?.dtype === 'u8' && scales?.dtype === 'u8' && blocks.shape.length === scales.shape.length + 1;
    });
  },
  weights(checkpoint) {
    const found = namesBefore(checkpoint, '_blocks').map((name) => mxfp4Weight(checkpoint, name));
    return new Map(found.map((weight) => [weight.name, weight]));
  },
  writer: {
    split,
    config: (weights, plain) => ({
      quantization_config: { modules_to_not_convert: unquantizedModules(weights, plain), quant_method: WHERE },
    }),
  },
};

function split(name: string, weight: QuantizedTensor): SplitWeight {
  const { shape, scheme, parts } = weight;
  const { grid, granularity } = scheme;
  refuseSideParts(weight, WHERE);
  const e2m1 = grid.type === 'float' && grid.exponent === 2 && grid.mantissa === 1 && grid.bias === 1;
  const [experts, rows, columns] = shape;
  const grouped = granularity.type === 'group' && granularity.axis === 2 && granularity.size === GROUP;
  if (!e2m1 || !grouped || parts.groupIndex !== undefined) {
    refuse('UNSUPPORTED', WHERE, name, `only E2M1 elements in groups of ${GROUP} along the input can be held`);
  }
  if (shape.length !== 3 || experts === undefined || rows === undefined || (columns ?? 1) % GROUP !== 0) {
    return refuse(
      'UNSUPPORTED',
      WHERE,
      name,
      `shape [${shape}] is not [experts, out, in] with whole groups of ${GROUP}`,
    );
  }
  const groups = [experts, rows, (columns as number) / GROUP];
  const tensors: [string, PackedTensor][] = [
    [`${name}_blocks`, packed('u8', [...groups, GROUP_BYTES], packFloatCodes(weight, 4).bytes)],
    [`${name}_scales`, packed('u8', groups, exactScaleCodes(name, weight, 'f8_e8m0', groups, WHERE))],
  ];
  return { tensors: new Map(tensors), settings: {} };
}

function mxfp4Weight(checkpoint: Checkpoint, name: string): LazyQuantizedTensor {
  const blocks = needPart(checkpoint, `${name}_blocks`, ['u8'], WHERE);
  const scales = needPart(checkpoint, `${name}_scales`, ['u8'], WHERE);
  const groups = blocks.shape[blocks.shape.length - 2];
  const leading = blocks.shape.slice(0, -2);
  if (groups === undefined || leading.length === 0) {
    refuse('FORMAT', WHERE, blocks.name, `shape [${blocks.shape}] should be [experts, out, groups, ${GROUP_BYTES}]`);
  }
  expectShape(blocks, WHERE, [...leading, groups, GROUP_BYTES]);
  expectShape(scales, WHERE, [...leading, groups]);
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
    parts: { blocks, exponents: scales },
    decode: (parts): QuantizedTensor => ({
      kind: 'quantized',
      shape,
      scheme,
      parts: {
        codes: packed('f4_e2m1', shape, (parts.blocks as PackedTensor).bytes),
        scales: packed('f8_e8m0', scales.shape, (parts.exponents as PackedTensor).bytes),
      },
    }),
  });
}
