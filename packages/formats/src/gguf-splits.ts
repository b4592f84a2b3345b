import { type Checkpoint, HalftoneError, type LazyTensor, type TensorEntry } from '@halftone/tensor';
import type { GgufCheckpoint } from './gguf.js';
import type { GgufMetadataEntry, GgufValue } from './gguf-types.js';
import { type GgufLayoutOptions, ggufLayout } from './gguf-writer.js';
import { ggmlTensorBytes } from './internal/tensor-size.js';
import { type FilePlan, type SinkFactory, type WriteDataOptions, writeFileSet } from './tensor-writer.js';

const SPLIT_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/**
 * The file names of all splits, from the name of the first (`model-00001-of-00003.gguf`); undefined for other names.
 * Throws `FORMAT` for the name of a later split.
 */
export function ggufSplitNames(fileName: string): string[] | undefined {
  const match = SPLIT_NAME.exec(fileName);
  if (match === null) return undefined;
  const [, base, number, total] = match as unknown as [string, string, string, string];
  if (Number(number) !== 1)
    fail(`${fileName}: is a later part of a split model; open ${splitName(base, 1, Number(total))}`, { fileName });
  return Array.from({ length: Number(total) }, (_, i) => splitName(base, i + 1, Number(total)));
}

function splitName(base: string, number: number, total: number): string {
  const five = (n: number) => String(n).padStart(5, '0');
  return `${base}-${five(number)}-of-${five(total)}.gguf`;
}

/**
 * Sees opened splits, in order, as one checkpoint: the metadata of the first without its `split.*` keys, all tensors.
 * Throws `FORMAT` when a part is missing, out of order or from another model. On failure the parts stay open.
 */
export function joinGgufSplits(parts: readonly GgufCheckpoint[]): GgufCheckpoint {
  const [first] = parts;
  if (first === undefined) fail('a split model has at least one part', {});
  const count = first.metadata.get('split.count');
  if (count !== parts.length)
    fail(`split.count is ${String(count ?? 'absent')} but ${parts.length} parts are given`, { count });
  const tensors = new Map<string, LazyTensor>();
  for (const [i, part] of parts.entries()) {
    const number = part.metadata.get('split.no');
    if (number !== i || part.metadata.get('split.count') !== count) {
      fail(
        `part ${i + 1} says it is split ${String(number)} of ${String(part.metadata.get('split.count'))}; check the files`,
        { part: i },
      );
    }
    for (const [name, tensor] of part.tensors) {
      if (tensors.has(name)) fail(`${name}: occurs in two parts; the parts are not of one model`, { name });
      tensors.set(name, tensor);
    }
  }
  const total = first.metadata.get('split.tensors.count');
  if (total !== tensors.size)
    fail(`split.tensors.count is ${String(total)} but the parts have ${tensors.size} tensors`, { total });
  const ggufMetadata = new Map<string, GgufValue>([...first.ggufMetadata].filter(([key]) => !key.startsWith('split.')));
  return {
    ...first,
    ggufMetadata,
    metadata: new Map([...ggufMetadata].map(([key, { value }]) => [key, value])),
    tensors,
    byteLength: parts.reduce((sum, part) => sum + part.byteLength, 0),
    async close() {
      for (const part of parts) await part.close();
    },
  };
}

/** Whether an opened file is one part of several. */
export function isGgufSplit(checkpoint: Checkpoint): boolean {
  return checkpoint.format === 'gguf' && Number(checkpoint.metadata.get('split.count') ?? 1) > 1;
}

export interface GgufSplitOptions extends GgufLayoutOptions {
  readonly metadata: readonly GgufMetadataEntry[];
  /** Files are named `<baseName>-00001-of-00003.gguf`, a single one `<baseName>.gguf`. Default `model`. */
  readonly baseName?: string;
  /** Data bytes a file holds at most; a larger tensor gets a file of its own. */
  readonly maxSplitBytes: number;
}

/** Distributes tensors over GGUF files as llama.cpp's gguf-split does: all metadata in the first. A pure function. */
export function planGgufSplits(entries: readonly TensorEntry[], options: GgufSplitOptions): FilePlan[] {
  const { baseName = 'model', maxSplitBytes } = options;
  if (!(maxSplitBytes > 0)) {
    throw new HalftoneError('RANGE', `maxSplitBytes is ${maxSplitBytes}, expected a number above 0`, {
      where: 'gguf',
      details: { maxSplitBytes },
    });
  }
  const metadata = options.metadata.filter(({ key }) => !key.startsWith('split.'));
  const groups: TensorEntry[][] = [[]];
  let room = maxSplitBytes;
  for (const entry of entries) {
    const size = ggmlTensorBytes(entry.name, entry.dtype, entry.shape);
    if (size > room && (groups.at(-1) as TensorEntry[]).length > 0) {
      groups.push([]);
      room = maxSplitBytes;
    }
    (groups.at(-1) as TensorEntry[]).push(entry);
    room -= size;
  }
  if (groups.length === 1) return [{ fileName: `${baseName}.gguf`, layout: ggufLayout(metadata, entries, options) }];
  const { alignment } = ggufLayout(metadata, entries, options);
  return groups.map((group, i) => {
    const split: GgufMetadataEntry[] = [
      { key: 'split.no', type: 'u16', value: i },
      { key: 'split.count', type: 'u16', value: groups.length },
      { key: 'split.tensors.count', type: 'i32', value: entries.length },
    ];
    const layout = ggufLayout(i === 0 ? [...metadata, ...split] : split, group, { alignment });
    return { fileName: splitName(baseName, i + 1, groups.length), layout };
  });
}

/** Writes a model as GGUF splits. No file appears before all are written; on failure none is left. */
export async function writeGgufSplits(
  entries: readonly TensorEntry[],
  options: GgufSplitOptions & WriteDataOptions & { readonly createSink: SinkFactory },
): Promise<FilePlan[]> {
  const plans = planGgufSplits(entries, options);
  await writeFileSet(plans, undefined, 'gguf', options.createSink, options);
  return plans;
}

function fail(message: string, details: Record<string, unknown>): never {
  throw new HalftoneError('FORMAT', message, { where: 'gguf', details });
}
