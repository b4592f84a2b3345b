/** What the readers of layouts share: finding the tensors of a weight, reading settings, putting weights together. */
import {
  type Checkpoint,
  type DType,
  type ErrorCode,
  HalftoneError,
  type JsonObject,
/** Weights that lie in several tensors of a checkpoint: finding the tensors, checking them, reading them together. */
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
  throwIfAborted,
/** A tensor whose type has been checked. */
export type Part<T extends DType = DType> = LazyTensor<T>;
/** Throws `FORMAT` when the tensor is missing or is not of one of `dtypes`. */
export function needPart<T extends DType>(
  checkpoint: Checkpoint,
  name: string,
  dtypes: readonly T[],
  where: string,
): Part<T> {
  const part = findPart(checkpoint, name, dtypes, where);
  if (part !== undefined) return part;
  throw new HalftoneError('FORMAT', `${name}: the file has no such tensor`, { where, details: { name } });
}
/** Undefined when there is no such tensor. Throws `FORMAT` when it is not of one of `dtypes`. */
export function findPart<T extends DType>(
): Part<T> | undefined {
  const part = checkpoint.tensors.get(name);
  if (part === undefined || dtypes.includes(part.dtype as T)) return part as Part<T> | undefined;
  throw new HalftoneError('FORMAT', `${name}: its type is ${part.dtype}, not ${dtypes.join(' or ')}`, {
    where,
    details: { name, dtype: part.dtype },
  });
/** Throws `FORMAT` unless the tensor has one of `shapes`. */
export function expectShape(part: LazyTensor, where: string, ...shapes: Shape[]): void {
  if (shapes.some((shape) => String(shape) === String(part.shape))) return;
  const expected = shapes.map((shape) => `[${shape}]`).join(' or ');
  throw new HalftoneError(
    'FORMAT',
    `${part.name}: shape [${part.shape}] does not fit its weight, expected ${expected}`,
    {
      where,
      details: { name: part.name, shape: part.shape, expected },
    },
  );
/** The sides of a matrix with elements. Throws `UNSUPPORTED` for other ranks (fused experts), `FORMAT` for empty ones. */
export function matrixSides(part: LazyTensor, where: string): readonly [number, number] {
  const [rows, columns] = part.shape;
  const details = { name: part.name, shape: part.shape };
  if (part.shape.length !== 2 || rows === undefined || columns === undefined) {
    throw new HalftoneError('UNSUPPORTED', `${part.name}: shape [${part.shape}] is not that of one linear layer`, {
      details,
    });
  }
  if (rows === 0 || columns === 0) {
    throw new HalftoneError('FORMAT', `${part.name}: shape [${part.shape}] has no elements`, { where, details });
  return [rows, columns];
/** `decode` gets the parts as they lie in the file and must not write to them. */
export function storedWeight<Name extends string>(weight: {
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
  readonly parts: { readonly [name in Name]?: LazyTensor };
  decode(parts: { readonly [name in Name]?: PackedTensor }): QuantizedTensor;
}): LazyQuantizedTensor {
  const { layout, name, shape, scheme } = weight;
  const parts = (Object.entries(weight.parts) as [Name, LazyTensor | undefined][]).filter(
    (entry): entry is [Name, LazyTensor] => entry[1] !== undefined,
  );
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
    stored: parts.map(([, part]) => part.name),
    byteLength: parts.reduce((total, [, part]) => total + part.byteLength, 0),
      throwIfAborted(options?.signal, layout);
      const read = await Promise.all(
        parts.map(async ([key, part]) => [key, await part.read(undefined, { signal: options?.signal })] as const),
      );
      return weight.decode(Object.fromEntries(read) as { [name in Name]?: PackedTensor });
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
/** `model.layers.0.mlp.up_proj.weight` -> `model.layers.0.mlp.up_proj`. Throws `UNSUPPORTED` for other names. */
export function moduleName(weight: string, where: string): string {
  const suffix = '.weight';
  if (weight.endsWith(suffix) && weight.length > suffix.length) return weight.slice(0, -suffix.length);
  throw new HalftoneError(
    'UNSUPPORTED',
    `${weight}: the layout names its tensors after a module, so the name of a weight must end in ${suffix}`,
    { where, details: { name: weight } },
  );
}
