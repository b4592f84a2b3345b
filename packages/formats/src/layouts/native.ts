import {
  type Checkpoint,
  type Grid,
  HalftoneError,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  type QuantizedTensor,
  type ReadOptions,
  sameShape,
  type Tensor,
  type WeightLayout,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { exactJsonText } from './internal/exact-json.js';
import {
  MAX_NESTED_WEIGHTS,
  NATIVE,
  type NativeTensor,
  type NativeWeight,
  nativeHeaderText,
  parseNativeHeader,
  weightJson,
} from './internal/native-header.js';
import { checkParts, joinParts, loadPart, storedShape, storePart, tensorParts } from './internal/native-parts.js';

/**
 * Halftone's own layout: every quantized tensor, in safetensors, with nothing lost. Its parts are tensors `<weight>.codes`,
 * `<weight>.scales`, `<weight>.outliers.values` and so on, those of quantized scales `<weight>.scales.codes`; the metadata entry
 * `halftone` says in JSON what they are. Codes of up to 7 bits lie in rows of `u8`, low bits first, each row from a byte on.
 *
 * What is read equals what was written in every part, to the bit; only views with strides become contiguous. The writer refuses
 * (`UNSUPPORTED`) settings that JSON cannot hold, and (`SHAPE`, `RANGE`) parts that do not fit each other. A header of another
 * version, or with members that this version does not know, is refused: `UNSUPPORTED`.
 */
export const halftone: WeightLayout = {
  name: NATIVE,
  detect: (checkpoint) => typeof checkpoint.metadata.get(NATIVE) === 'string',
  weights(checkpoint) {
    const weights = new Map<string, LazyQuantizedTensor>();
    for (const [name, weight] of parseNativeHeader(headerText(checkpoint))) {
      weights.set(name, lazyWeight(checkpoint, name, weight));
    }
    return weights;
  },
  writer: {
    embeddings: true,
    split(name, weight) {
      validateQuantized(weight, `${NATIVE}: ${name}`);
      const tensors = new Map<string, PackedTensor>();
      const settings = weightJson(storeWeight(weight, name, tensors, 0));
      exactJsonText(settings, name, NATIVE);
      return { tensors, settings };
    },
    config: () => ({ quantization_config: { quant_method: NATIVE } }),
    metadata: (weights) => ({ [NATIVE]: nativeHeaderText(weights) }),
  },
};

function headerText(checkpoint: Checkpoint): string {
  const text = checkpoint.metadata.get(NATIVE);
  return typeof text === 'string' ? text : fail('FORMAT', `the metadata has no text under ${NATIVE}`, {});
}

function storeWeight(q: QuantizedTensor, name: string, into: Map<string, PackedTensor>, level: number): NativeWeight {
  if (level > MAX_NESTED_WEIGHTS) fail('UNSUPPORTED', `${name}: quantized parts within parts go too deep`, { name });
  const parts = new Map<string, NativeTensor | NativeWeight>();
  for (const [path, part] of tensorParts(q)) {
    if (part.kind === 'quantized') {
      parts.set(path, storeWeight(part, `${name}.${path}`, into, level + 1));
      continue;
    }
    const denseBits = path === 'codes' ? codeBits(q.scheme.grid) : path === 'signs' ? 1 : 0;
    const { entry, stored } = storePart(part, denseBits);
    parts.set(path, entry);
    into.set(`${name}.${path}`, stored);
  }
  const { globalScale, outliers } = q.parts;
  return {
    shape: [...q.shape],
    scheme: q.scheme,
    ...(globalScale === undefined ? {} : { globalScale }),
    ...(outliers === undefined ? {} : { outlierShape: [...outliers.shape] }),
    parts,
  };
}

function codeBits(grid: Grid): number {
  return grid.type === 'float' ? 1 + grid.exponent + grid.mantissa : grid.bits;
}

function lazyWeight(checkpoint: Checkpoint, name: string, weight: NativeWeight): LazyQuantizedTensor {
  const tensors = new Map<string, LazyTensor>();
  collect(checkpoint, name, weight, tensors);
  return {
    kind: 'lazy-quantized',
    name,
    shape: weight.shape,
    scheme: weight.scheme,
    layout: NATIVE,
    stored: [...tensors.keys()],
    byteLength: [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    async read(options) {
      const q = await readWeight(name, weight, tensors, options);
      validateQuantized(q, `${NATIVE}: ${name}`);
      return q;
    },
  };
}

/** Finds the tensors of a weight and checks their types and shapes. */
function collect(checkpoint: Checkpoint, name: string, weight: NativeWeight, into: Map<string, LazyTensor>): void {
  checkParts(weight, name);
  for (const [path, part] of weight.parts) {
    const partName = `${name}.${path}`;
    if ('parts' in part) {
      collect(checkpoint, partName, part, into);
      continue;
    }
    const stored = checkpoint.tensors.get(partName);
    if (stored === undefined) fail('FORMAT', `${partName} is missing from the file`, { name: partName });
    const expected = storedShape(part);
    if (stored.dtype !== expected.dtype || !sameShape(stored.shape, expected.shape)) {
      const [found, due] = [stored, expected].map(({ dtype, shape }) => `${dtype} [${shape}]`);
      fail('FORMAT', `${partName}: the file has ${found}, its header says ${due}`, { name: partName });
    }
    into.set(partName, stored);
  }
}

async function readWeight(
  name: string,
  weight: NativeWeight,
  tensors: ReadonlyMap<string, LazyTensor>,
  options?: ReadOptions,
): Promise<QuantizedTensor> {
  const parts = new Map<string, Tensor | PackedTensor | QuantizedTensor>();
  for (const [path, part] of weight.parts) {
    const partName = `${name}.${path}`;
    if ('parts' in part) parts.set(path, await readWeight(partName, part, tensors, options));
    else {
      const { bytes } = await (tensors.get(partName) as LazyTensor).read(undefined, options);
      parts.set(path, loadPart(part, bytes));
    }
  }
  return { kind: 'quantized', shape: weight.shape, scheme: weight.scheme, parts: joinParts(weight, parts) };
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string, details: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where: NATIVE, details });
}
