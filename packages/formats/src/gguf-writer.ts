import { type ByteSink, HalftoneError, type TensorEntry } from '@halftone/tensor';
import {
  GGUF_DEFAULT_ALIGNMENT,
  GGUF_MAX_DIMENSIONS,
  GGUF_MAX_NAME_BYTES,
  GGUF_VERSION,
  type GgufMetadataEntry,
  ggmlTypeId,
} from './gguf-types.js';
import { abortOnFailure } from './internal/abort-on-failure.js';
import { byteBuilder } from './internal/byte-builder.js';
import { writeGgufEntry } from './internal/gguf-value.js';
import { alignUp, ggmlTensorBytes } from './internal/tensor-size.js';
import { isWellFormed } from './internal/utf8.js';
import {
  type FileLayout,
  type TensorPlacement,
  type TensorWriter,
  tensorWriter,
  type WriteDataOptions,
  writeAll,
} from './tensor-writer.js';

const LARGEST_ALIGNMENT = 1 << 20;

export interface GgufLayoutOptions {
  /** A power of two up to 2^20. Default: `general.alignment` of the metadata, else 32. The key is added where it is needed. */
  readonly alignment?: number;
}

export interface WriteGgufOptions extends GgufLayoutOptions, WriteDataOptions {
  readonly metadata: readonly GgufMetadataEntry[];
}

/**
 * The header of a GGUF v3 file and the place of each tensor, in the given order. A pure function of its arguments.
 *
 * A scalar is written with the shape `[1]`. Throws `FORMAT` for duplicate, malformed or overlong names and keys, `DTYPE` for values
 * that do not fit their type, `SHAPE` for empty tensors, more than 4 dimensions and rows that are not whole blocks,
 * `UNSUPPORTED` for element types that ggml does not have.
 */
export function ggufLayout(
  metadata: readonly GgufMetadataEntry[],
  entries: readonly TensorEntry[],
  options: GgufLayoutOptions = {},
): FileLayout & { readonly alignment: number } {
  const alignment = resolveAlignment(metadata, options.alignment);
  const hasKey = metadata.some(({ key }) => key === 'general.alignment');
  const alignmentEntry: GgufMetadataEntry = { key: 'general.alignment', type: 'u32', value: alignment };
  const all = hasKey || alignment === GGUF_DEFAULT_ALIGNMENT ? metadata : [...metadata, alignmentEntry];

  const builder = byteBuilder();
  builder.u32(0x46554747);
  builder.u32(GGUF_VERSION);
  builder.u64(entries.length);
  builder.u64(all.length);
  const keys = new Set<string>();
  for (const entry of all) {
    if (entry.key === '') fail('FORMAT', 'a metadata key is empty; give it a name', {});
    if (keys.has(entry.key)) fail('FORMAT', `metadata key ${entry.key} occurs twice; keep one`, { key: entry.key });
    keys.add(entry.key);
    writeGgufEntry(builder, entry);
  }
  let offset = 0;
  const relative: TensorPlacement[] = [];
  const names = new Set<string>();
  for (const { name, dtype, shape } of entries) {
    if (names.has(name)) fail('FORMAT', `${name}: two tensors have this name; rename one`, { name });
    names.add(name);
    if (!isWellFormed(name) || name.includes('\0')) {
      fail('FORMAT', `${JSON.stringify(name)} cannot be a tensor's name in GGUF; rename it`, { name });
    }
    const nameBytes = new TextEncoder().encode(name);
    if (nameBytes.length > GGUF_MAX_NAME_BYTES) {
      fail(
        'FORMAT',
        `${name}: the name has ${nameBytes.length} bytes, GGUF allows ${GGUF_MAX_NAME_BYTES}; shorten it`,
        { name },
      );
    }
    const typeId = ggmlTypeId(dtype);
    if (typeId === undefined)
      fail('UNSUPPORTED', `${name}: ggml has no type ${dtype}; convert it first`, { name, dtype });
    const dimensions = shape.length === 0 ? [1] : shape;
    if (dimensions.length > GGUF_MAX_DIMENSIONS || dimensions.includes(0)) {
      // Readers older than ggml's check for empty tensors divide by their dimensions.
      fail('SHAPE', `${name}: shape [${shape}] cannot be stored, GGUF takes 1 to 4 dimensions above 0; reshape it`, {
        name,
        shape,
      });
    }
    const byteLength = ggmlTensorBytes(name, dtype, dimensions);
    builder.string(nameBytes);
    builder.u32(dimensions.length);
    for (const dimension of [...dimensions].reverse()) builder.u64(dimension);
    builder.u32(typeId);
    builder.u64(offset);
    relative.push({ name, dtype, shape: [...shape], offset, byteLength });
    offset += alignUp(byteLength, alignment);
  }
  const header = builder.finish(alignment);
  const tensors = relative.map((placement) => ({ ...placement, offset: header.length + placement.offset }));
  // llama.cpp expects the last tensor to be padded as well.
  return { header, tensors, byteLength: header.length + offset, alignment };
}

/** A writer that takes tensors one by one, in the given order, whole or in pieces such as row ranges. */
export function createGgufWriter(
  sink: ByteSink,
  options: GgufLayoutOptions & {
    readonly metadata: readonly GgufMetadataEntry[];
    readonly tensors: readonly TensorEntry[];
  },
): TensorWriter {
  return tensorWriter(sink, ggufLayout(options.metadata, options.tensors, options), 'gguf');
}

/** Writes one GGUF file and commits the sink; on failure the sink is aborted. */
export async function writeGguf(
  sink: ByteSink,
  entries: readonly TensorEntry[],
  options: WriteGgufOptions,
): Promise<FileLayout> {
  return abortOnFailure(sink, async () => {
    const layout = ggufLayout(options.metadata, entries, options);
    await writeAll(sink, layout, 'gguf', options);
    return layout;
  });
}

function resolveAlignment(metadata: readonly GgufMetadataEntry[], wanted: number | undefined): number {
  const entry = metadata.find(({ key }) => key === 'general.alignment');
  const alignment = wanted ?? (entry === undefined ? GGUF_DEFAULT_ALIGNMENT : (entry.value as number));
  const isPower = Number.isInteger(alignment) && alignment > 0 && (alignment & (alignment - 1)) === 0;
  if (!isPower || alignment > LARGEST_ALIGNMENT) {
    fail('RANGE', `the alignment ${String(alignment)} is not a power of two from 1 to ${LARGEST_ALIGNMENT}`, {
      alignment,
    });
  }
  if (entry !== undefined && (entry.type !== 'u32' || entry.value !== alignment)) {
    fail(
      'RANGE',
      `general.alignment is ${entry.type} ${String(entry.value)}, expected u32 ${alignment}; drop the key`,
      { alignment },
    );
  }
  return alignment;
}

function fail(
  code: 'FORMAT' | 'SHAPE' | 'RANGE' | 'UNSUPPORTED',
  message: string,
  details: Record<string, unknown>,
): never {
  throw new HalftoneError(code, message, { where: 'gguf', details });
}
