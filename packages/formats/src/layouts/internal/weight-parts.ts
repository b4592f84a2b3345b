/** Weights that lie in several tensors of a checkpoint: finding the tensors, checking them, reading them together. */
import {
  type Checkpoint,
  type DType,
  HalftoneError,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  type QuantizedTensor,
  type Scheme,
  type Shape,
  throwIfAborted,
} from '@halftone/tensor';

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
  checkpoint: Checkpoint,
  name: string,
  dtypes: readonly T[],
  where: string,
): Part<T> | undefined {
  const part = checkpoint.tensors.get(name);
  if (part === undefined || dtypes.includes(part.dtype as T)) return part as Part<T> | undefined;
  throw new HalftoneError('FORMAT', `${name}: its type is ${part.dtype}, not ${dtypes.join(' or ')}`, {
    where,
    details: { name, dtype: part.dtype },
  });
}

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
}

/** The sides of a matrix with elements. Throws `UNSUPPORTED` for other ranks (fused experts), `FORMAT` for empty ones. */
export function matrixSides(part: LazyTensor, where: string): readonly [number, number] {
  const [rows, columns] = part.shape;
  const details = { name: part.name, shape: part.shape };
  if (part.shape.length !== 2 || rows === undefined || columns === undefined) {
    throw new HalftoneError('UNSUPPORTED', `${part.name}: shape [${part.shape}] is not that of one linear layer`, {
      where,
      details,
    });
  }
  if (rows === 0 || columns === 0) {
    throw new HalftoneError('FORMAT', `${part.name}: shape [${part.shape}] has no elements`, { where, details });
  }
  return [rows, columns];
}

/** The names of the tensors that end in `suffix`, without it. */
export function namesBefore(checkpoint: Checkpoint, suffix: string): string[] {
  return [...checkpoint.tensors.keys()]
    .filter((name) => name.endsWith(suffix))
    .map((name) => name.slice(0, -suffix.length));
}

/** The results of `work` in the order of the items, sixteen under way at once: for the small tensors that hold settings. */
export async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let i = 0; i < items.length; i += 16) results.push(...(await Promise.all(items.slice(i, i + 16).map(work))));
  return results;
}

/** `decode` gets the parts as they lie in the file and must not write to them. */
export function storedWeight<Name extends string>(weight: {
  readonly layout: string;
  readonly name: string;
  readonly shape: Shape;
  readonly scheme: Scheme;
  readonly parts: { readonly [name in Name]?: LazyTensor };
  /** Tensors of the weight that need not be read again: they hold settings. */
  readonly settings?: readonly LazyTensor[];
  decode(parts: { readonly [name in Name]?: PackedTensor }): QuantizedTensor;
}): LazyQuantizedTensor {
  const { layout, name, shape, scheme } = weight;
  const parts = (Object.entries(weight.parts) as [Name, LazyTensor | undefined][]).filter(
    (entry): entry is [Name, LazyTensor] => entry[1] !== undefined,
  );
  const stored = [...parts.map(([, part]) => part), ...(weight.settings ?? [])];
  return {
    kind: 'lazy-quantized',
    name,
    shape: Object.freeze([...shape]),
    scheme,
    layout,
    stored: stored.map((part) => part.name),
    byteLength: stored.reduce((total, part) => total + part.byteLength, 0),
    async read(options) {
      throwIfAborted(options?.signal, layout);
      const read = await Promise.all(
        parts.map(async ([key, part]) => [key, await part.read(undefined, { signal: options?.signal })] as const),
      );
      return weight.decode(Object.fromEntries(read) as { [name in Name]?: PackedTensor });
    },
  };
}

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
