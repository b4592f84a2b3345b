/** What the readers of layouts share: finding the tensors of a weight, reading settings, putting weights together. */
import {
  type Checkpoint,
  type DType,
  type ErrorCode,
  HalftoneError,
  type JsonObject,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  type QuantizedTensor,
  type ReadOptions,
  type Scheme,
  type Shape,
  sameShape,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';

export interface StoredWeight {
  readonly layout: string;
  readonly name: string;
  readonly shape: Shape;
  readonly scheme: Scheme;
  /** The tensors that hold the weight. */
  readonly parts: readonly LazyTensor[];
  read(options?: ReadOptions): Promise<QuantizedTensor>;
}

/** The weight as a checkpoint lists it. What is read is validated. */
export function storedWeight(weight: StoredWeight): LazyQuantizedTensor {
  const { layout, name, shape, scheme, parts } = weight;
  return {
    kind: 'lazy-quantized',
    name,
    shape: Object.freeze([...shape]),
    scheme,
    layout,
    stored: parts.map((part) => part.name),
    byteLength: parts.reduce((sum, part) => sum + part.byteLength, 0),
    async read(options) {
      const q = await weight.read(options);
      validateQuantized(q, `${layout}: ${name}`);
      return q;
    },
  };
}

export function refuse(code: ErrorCode, where: string, name: string, message: string): never {
  throw new HalftoneError(code, `${name}: ${message}`, { where, details: { name } });
}

/** The tensor of this name. Throws `FORMAT` where there is none. */
export function storedPart(checkpoint: Checkpoint, name: string, where: string): LazyTensor {
  return checkpoint.tensors.get(name) ?? refuse('FORMAT', where, name, 'the tensor is missing; the file is incomplete');
}

/** Throws `FORMAT` unless the tensor has one of these types and one of these shapes. */
export function checkPart(part: LazyTensor, dtypes: readonly DType[], shapes: readonly Shape[], where: string): void {
  if (!dtypes.includes(part.dtype as DType)) {
    refuse('FORMAT', where, part.name, `type ${part.dtype} should be ${dtypes.join(' or ')}`);
  }
  if (!shapes.some((shape) => sameShape(shape, part.shape))) {
    const wanted = shapes.map((shape) => `[${shape}]`).join(' or ');
    refuse('FORMAT', where, part.name, `shape [${part.shape}] should be ${wanted}`);
  }
}

/** Reads a whole tensor whose type is known to be an element type. */
export async function readPart(part: LazyTensor, options?: ReadOptions): Promise<PackedTensor<DType>> {
  return (await part.read(undefined, { signal: options?.signal })) as PackedTensor<DType>;
}

/** The results of `work` in the order of the items, sixteen items under way at once. */
export async function mapBatched<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let i = 0; i < items.length; i += 16) results.push(...(await Promise.all(items.slice(i, i + 16).map(work))));
  return results;
}

/** The member when it is an object, else undefined. */
export function objectMember(object: JsonObject | undefined, key: string): JsonObject | undefined {
  if (object === undefined || !Object.hasOwn(object, key)) return undefined;
  const value = object[key];
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
}

/** `quantization_config.quant_method`, where it is a string. */
export function quantMethod(config: JsonObject | undefined): string | undefined {
  const method = objectMember(config, 'quantization_config')?.['quant_method'];
  return typeof method === 'string' ? method : undefined;
}

/** The names of the tensors that end in `suffix`, without it. */
export function namesWithout(checkpoint: Checkpoint, suffix: string): string[] {
  return [...checkpoint.tensors.keys()]
    .filter((name) => name.endsWith(suffix))
    .map((name) => name.slice(0, -suffix.length));
}

/**
 * The modules that a runtime must not quantize, from the weights that are not. A head tied to the embedding has no weight to be
 * named by, but runtimes take it for a linear layer: it is listed unless its weight is quantized.
 */
export function unquantizedModules(weights: ReadonlyMap<string, unknown>, plain: readonly string[]): string[] {
  const modules = plain.map((name) => moduleOf(name));
  if (!weights.has('lm_head.weight') && !modules.includes('lm_head')) modules.push('lm_head');
  return modules;
}

/** The module of a weight: its name without `.weight`. */
export function moduleOf(name: string): string {
  return name.replace(/\.weight$/, '');
}

/** The setting when all weights agree on it. Throws `UNSUPPORTED` naming two that do not. */
export function commonSetting<T>(weights: ReadonlyMap<string, JsonObject>, key: string, where: string): T | undefined {
  let first: { readonly name: string; readonly value: unknown } | undefined;
  for (const [name, settings] of weights) {
    const value = settings[key];
    first ??= { name, value };
    if (JSON.stringify(first.value) !== JSON.stringify(value)) {
      refuse(
        'UNSUPPORTED',
        where,
        name,
        `${key} ${JSON.stringify(value)} in one file with ${first.name}, which has ${JSON.stringify(first.value)}`,
      );
    }
  }
  return first?.value as T | undefined;
}
