import {
  type Checkpoint,
  type DType,
  encode,
  type Granularity,
  HalftoneError,
  type JsonObject,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type Scheme,
  type Shape,
  type SplitWeight,
  sameShape,
  type Tensor,
  toFloat32,
  unpackCodes,
  type WeightLayout,
} from '@halftone/tensor';
import { refuseSideParts } from './internal/affine-weight.js';
import { refuse } from './internal/refuse.js';
import { commonSetting, unquantizedModules } from './internal/runtime-config.js';
import { quantizationConfig, quantMethod } from './internal/settings.js';
import { matrixSides, needPart, storedWeight } from './internal/weight-parts.js';

const WHERE = 'fp8';
const METHODS: readonly string[] = ['fp8', 'fbgemm_fp8'];
const SCALE_TYPES: readonly DType[] = ['f32', 'bf16', 'f16', 'f8_e8m0'];

const GRIDS = {
  f8_e4m3: { type: 'float', exponent: 4, mantissa: 3, bias: 7 },
  f8_e5m2: { type: 'float', exponent: 5, mantissa: 2, bias: 15 },
} as const;

/**
 * Weights of 8-bit floats `[out, in]` with float scales that are multiplied in:
 *
 * - one for the tensor (`weight_scale`, vLLM's `fp8`; `weight_scale_inv` of one element);
 * - one for each row (`weight_scale` `[out]` or `[out, 1]`, `fbgemm_fp8`);
 * - one for each block (`weight_scale_inv`, DeepSeek): blocks of `weight_block_size`, 128 by 128 where the configuration is
 *   silent; those at the lower and right edges may be smaller.
 *
 * Scales of activations (`input_scale`, `activation_scale`) and of the KV cache stay ordinary tensors of the checkpoint. Where a
 * layer has one, `scheme.params.activations` of its weight is `static`, and a written configuration says so: copy them along.
 *
 * Source: vLLM, `quantization/fp8.py`, `fbgemm_fp8.py`; transformers, `integrations/finegrained_fp8.py`, `fbgemm_fp8.py`.
 */
export const fp8: WeightLayout = {
  name: WHERE,
  detect(checkpoint, config) {
    const method = quantMethod(quantizationConfig(config));
    if (method !== undefined) return METHODS.includes(method) && eightBitFloats(checkpoint).length > 0;
    return eightBitFloats(checkpoint).some(({ name }) => checkpoint.tensors.has(`${name}_scale_inv`));
  },
  weights(checkpoint, config) {
    const blockSize = blockSizeOf(config);
    const found = eightBitFloats(checkpoint).map((stored) => fp8Weight(checkpoint, stored, blockSize));
    return new Map(found.map((weight) => [weight.name, weight]));
  },
  writer: { split, config: fp8Config },
};

function eightBitFloats(checkpoint: Checkpoint): LazyTensor[] {
  return [...checkpoint.tensors.values()].filter(({ dtype }) => Object.hasOwn(GRIDS, dtype));
}

/** `weight_block_size`: null where there are no blocks, 128 by 128 where it is not told, as in transformers. */
function blockSizeOf(config: JsonObject | undefined): readonly [number, number] | undefined {
  const settings = quantizationConfig(config);
  if (settings === undefined || !Object.hasOwn(settings, 'weight_block_size')) return [128, 128];
  const size = settings['weight_block_size'] ?? undefined;
  if (size === undefined) return undefined;
  const whole = (n: unknown): boolean => Number.isInteger(n) && (n as number) >= 1 && (n as number) <= 2 ** 31;
  if (Array.isArray(size) && size.length === 2 && size.every(whole))
    return size as unknown as readonly [number, number];
  return refuse('FORMAT', WHERE, 'weight_block_size', `${JSON.stringify(size)} should be two whole numbers`);
}

function fp8Weight(
  checkpoint: Checkpoint,
  weight: LazyTensor,
  blockSize: readonly [number, number] | undefined,
): LazyQuantizedTensor {
  const { name, shape } = weight;
  if (shape.length !== 2) {
    refuse('UNSUPPORTED', WHERE, name, `shape [${shape}] of 8-bit floats; only matrices [out, in] are read`);
  }
  const sides = matrixSides(weight, WHERE);
  const inverse = `${name}_scale_inv`;
  const isInverse = checkpoint.tensors.has(inverse);
  const scale = needPart(checkpoint, isInverse ? inverse : `${name}_scale`, SCALE_TYPES, WHERE);
  const granularity = granularityOf(scale, sides, isInverse ? blockSize : undefined);
  const grid = GRIDS[weight.dtype as keyof typeof GRIDS];
  const module = name.replace(/\.weight$/, '');
  const isStatic = ['input_scale', 'activation_scale'].some((key) => checkpoint.tensors.has(`${module}.${key}`));
  const scheme: Scheme = {
    name: weight.dtype,
    version: 1,
    grid,
    granularity,
    ...(isStatic ? { params: { activations: 'static' } } : {}),
  };
  return storedWeight({
    layout: WHERE,
    name,
    shape,
    scheme,
    parts: { codes: weight, scales: scale },
    decode: ({ codes, scales }): QuantizedTensor => ({
      kind: 'quantized',
      shape,
      scheme,
      parts: { codes: codes as PackedTensor, scales: scales as PackedTensor },
    }),
  });
}

function granularityOf(
  scale: LazyTensor,
  [rows, columns]: readonly [number, number],
  blockSize: readonly [number, number] | undefined,
): Granularity {
  if (blockSize !== undefined) {
    const [blockRows, blockColumns] = blockSize;
    if (sameShape(scale.shape, [Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)])) {
      return { type: 'block', rows: blockRows, columns: blockColumns };
    }
  }
  if (sameShape(scale.shape, []) || sameShape(scale.shape, [1]) || sameShape(scale.shape, [1, 1])) {
    return { type: 'tensor' };
  }
  if (sameShape(scale.shape, [rows]) || sameShape(scale.shape, [rows, 1])) return { type: 'axis', axis: 0 };
  const blocks = blockSize === undefined ? '' : `, or one for each block of ${blockSize.join(' by ')}`;
  return refuse(
    'FORMAT',
    WHERE,
    scale.name,
    `shape [${scale.shape}] is not one scale, or one for each of ${rows} rows${blocks}`,
  );
}

function split(name: string, weight: QuantizedTensor): SplitWeight {
  const { shape, scheme, parts } = weight;
  const { grid, granularity } = scheme;
  refuseSideParts(weight, WHERE);
  if (grid.type !== 'float' || grid.exponent !== 4 || grid.mantissa !== 3 || grid.bias !== 7) {
    refuse('UNSUPPORTED', WHERE, name, 'only E4M3 elements are run; decode and quantize again');
  }
  if (shape.length !== 2) refuse('UNSUPPORTED', WHERE, name, `shape [${shape}] is not a matrix [out, in]`);
  const [rows, columns] = shape as readonly [number, number];
  const factor = parts.globalScale ?? 1;
  const given = parts.scales === undefined ? Float32Array.of(1) : toFloat32(parts.scales as Tensor);
  const scales = factor === 1 ? given : given.map((scale) => scale * factor);
  const codes = unpackCodes(parts.codes);
  const bytes = new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
  if (bytes.length !== codes.length) refuse('UNSUPPORTED', WHERE, name, 'codes take more than a byte each');
  const stored = packed('f8_e4m3', shape, bytes);
  const held = (suffix: string, scaleShape: Shape, settings: JsonObject): SplitWeight => {
    // A tensor without scales has one, whatever its granularity.
    const spread =
      parts.scales === undefined ? new Float32Array(scaleShape.reduce((a, b) => a * b, 1)).fill(factor) : scales;
    const tensors: [string, PackedTensor][] = [
      [name, stored],
      [`${name}${suffix}`, encode(spread, 'f32', scaleShape)],
    ];
    return { tensors: new Map(tensors), settings };
  };
  if (granularity.type === 'tensor') {
    return held('_scale', [], {
      scales: 'tensor',
      activations: scheme.params?.['activations'] === 'static' ? 'static' : 'dynamic',
    });
  }
  if (granularity.type === 'axis' && granularity.axis === 0) return held('_scale', [rows, 1], { scales: 'row' });
  if (granularity.type === 'block') {
    const blocks = [Math.ceil(rows / granularity.rows), Math.ceil(columns / granularity.columns)];
    return held('_scale_inv', blocks, { scales: 'block', blockSize: [granularity.rows, granularity.columns] });
  }
  return refuse(
    'UNSUPPORTED',
    WHERE,
    name,
    'scales must belong to the tensor, to rows, or to blocks of rows and columns',
  );
}

function fp8Config(weights: ReadonlyMap<string, JsonObject>, plain: readonly string[]): JsonObject {
  const scales = commonSetting<string>(weights, 'scales', WHERE);
  const blockSize = commonSetting<readonly number[]>(weights, 'blockSize', WHERE);
  const modules = unquantizedModules(weights, plain);
  if (scales === undefined) {
    throw new HalftoneError('UNSUPPORTED', 'there are no quantized weights to describe', { where: WHERE });
  }
  if (scales === 'row') {
    // 1200 is the bound of activations that the tool's authors publish with their checkpoints.
    return {
      quantization_config: {
        activation_scale_ub: 1200,
        modules_to_not_convert: modules,
        quant_method: 'fbgemm_fp8',
      },
    };
  }
  return {
    quantization_config: {
      activation_scheme: commonSetting<string>(weights, 'activations', WHERE) ?? 'dynamic',
      fmt: 'e4m3',
      // vLLM has read the one name from the beginning, transformers the other.
      ignored_layers: modules,
      modules_to_not_convert: modules,
      quant_method: 'fp8',
      ...(blockSize === undefined ? {} : { weight_block_size: blockSize }),
    },
  };
}
