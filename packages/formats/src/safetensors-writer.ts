import { type ByteSink, DTYPES, type DType, HalftoneError, isGgmlType, type TensorEntry } from '@halftone/tensor';
import { abortOnFailure } from './internal/abort-on-failure.js';
import { tensorElements } from './internal/tensor-size.js';
import { isWellFormed } from './internal/utf8.js';
import { SAFETENSORS_DTYPES, SAFETENSORS_MAX_HEADER_BYTES } from './safetensors-header.js';
import {
  type FileLayout,
  type TensorPlacement,
  type TensorWriter,
  tensorWriter,
  type WriteDataOptions,
  writeAll,
} from './tensor-writer.js';

export interface SafetensorsLayoutOptions {
  /** `__metadata__`. Default `{ format: 'pt' }`, which transformers asks for. */
  readonly metadata?: ReadonlyMap<string, string> | Readonly<Record<string, string>>;
  /**
   * `aligned` (default) puts wider elements first, so that every tensor starts at a multiple of its element size; tensors
   * of equal width keep their order. `given` keeps the order of the entries and refuses those that would not be aligned.
   */
  readonly order?: 'aligned' | 'given';
}

export interface WriteSafetensorsOptions extends SafetensorsLayoutOptions, WriteDataOptions {}

/**
 * The header of a safetensors file and the place of each tensor. A pure function of its arguments.
 *
 * Throws `UNSUPPORTED` for types the format does not have (ggml blocks, integers below 8 bits), `FORMAT` for duplicate or
 * malformed names, `SHAPE` for tensors that are not whole bytes.
 */
export function safetensorsLayout(entries: readonly TensorEntry[], options: SafetensorsLayoutOptions = {}): FileLayout {
  const { metadata = { format: 'pt' }, order = 'aligned' } = options;
  const pairs: [string, string][] = metadata instanceof Map ? [...metadata] : Object.entries(metadata);
  const members: string[] = [];
  const malformed = pairs.find((pair) => !pair.every((text) => typeof text === 'string' && isWellFormed(text)));
  if (malformed) {
    fail('FORMAT', `metadata ${JSON.stringify(malformed[0])} is not a string of valid Unicode`, { key: malformed[0] });
  }
  if (pairs.length > 0) {
    const items = pairs.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    members.push(`"__metadata__":{${items.join(',')}}`);
  }
  const names = new Set<string>();
  const measured = entries.map((entry) => {
    checkName(entry.name, names);
    return { entry, ...measure(entry) };
  });
  if (order === 'aligned') measured.sort((a, b) => b.bits - a.bits);

  let position = 0;
  const relative: (TensorEntry & { begin: number; byteLength: number })[] = [];
  for (const { entry, fileType, bits, byteLength } of measured) {
    const { name, dtype, shape } = entry;
    if (byteLength > 0 && (position * 8) % Math.max(bits, 8) !== 0) {
      fail(
        'FORMAT',
        `${name}: would start at data offset ${position}, not a multiple of its element size; use order 'aligned'`,
        {
          name,
          offset: position,
        },
      );
    }
    const offsets = `[${position},${position + byteLength}]`;
    members.push(
      `${JSON.stringify(name)}:{"dtype":"${fileType}","shape":[${shape.join(',')}],"data_offsets":${offsets}}`,
    );
    relative.push({ name, dtype, shape: [...shape], begin: position, byteLength });
    position += byteLength;
  }
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const jsonBytes = Math.ceil(json.length / 8) * 8;
  if (jsonBytes > SAFETENSORS_MAX_HEADER_BYTES) {
    fail(
      'FORMAT',
      `the header takes ${jsonBytes} bytes, the format allows ${SAFETENSORS_MAX_HEADER_BYTES}; write shards`,
      { jsonBytes },
    );
  }
  const header = new Uint8Array(8 + jsonBytes).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(jsonBytes), true);
  header.set(json, 8);
  const tensors = relative.map(
    ({ begin, ...placement }): TensorPlacement => ({ ...placement, offset: header.length + begin }),
  );
  return { header, tensors, byteLength: header.length + position };
}

/** A writer that takes tensors one by one, in the order of `writer.layout.tensors`, in pieces of any size. */
export function createSafetensorsWriter(
  sink: ByteSink,
  options: SafetensorsLayoutOptions & { readonly tensors: readonly TensorEntry[] },
): TensorWriter {
  return tensorWriter(sink, safetensorsLayout(options.tensors, options), 'safetensors');
}

/**
 * Writes one safetensors file and commits the sink; on failure the sink is aborted.
 * `options.data` is called for one tensor after the other, in the order of the layout.
 */
export async function writeSafetensors(
  sink: ByteSink,
  entries: readonly TensorEntry[],
  options: WriteSafetensorsOptions,
): Promise<FileLayout> {
  return abortOnFailure(sink, async () => {
    const layout = safetensorsLayout(entries, options);
    await writeAll(sink, layout, 'safetensors', options);
    return layout;
  });
}

function measure({ name, dtype, shape }: TensorEntry): { fileType: string; bits: number; byteLength: number } {
  const fileType = isGgmlType(dtype) ? undefined : fileTypeOf(dtype);
  if (fileType === undefined || isGgmlType(dtype)) {
    fail('UNSUPPORTED', `${name}: safetensors has no ${dtype}; write GGUF, or keep its codes in a u8 tensor`, {
      name,
      dtype,
    });
  }
  const { bits } = DTYPES[dtype];
  const totalBits = tensorElements(name, shape, 'safetensors') * bits;
  const rowBits = (shape[shape.length - 1] ?? 1) * bits;
  if (totalBits % 8 !== 0 || (totalBits > 0 && rowBits % 8 !== 0)) {
    fail('SHAPE', `${name}: rows of ${rowBits} bits are not whole bytes; pad the last axis of this ${dtype} tensor`, {
      name,
      dtype,
      shape,
    });
  }
  return { fileType, bits, byteLength: totalBits / 8 };
}

function fileTypeOf(dtype: DType): string | undefined {
  return Object.keys(SAFETENSORS_DTYPES).find((name) => SAFETENSORS_DTYPES[name] === dtype);
}

function checkName(name: string, names: Set<string>): void {
  if (name === '__metadata__' || !isWellFormed(name)) {
    fail('FORMAT', `${JSON.stringify(name)} cannot be a tensor's name in safetensors; rename it`, { name });
  }
  if (names.has(name)) fail('FORMAT', `${name}: two tensors have this name; rename one`, { name });
  names.add(name);
}

function fail(code: 'FORMAT' | 'SHAPE' | 'UNSUPPORTED', message: string, details: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where: 'safetensors', details });
}
