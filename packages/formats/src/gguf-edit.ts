import { HalftoneError } from '@halftone/tensor';
import type { GgufHeader } from './gguf-header.js';
import type { GgufMetadataEntry } from './gguf-types.js';
import { ggufLayout } from './gguf-writer.js';

/** Changes of a file's metadata. Every key is named once at most, a new name included. */
export interface GgufMetadataEdits {
  /** New keys, put at the end, and new values of keys that are there, which keep their place. */
  readonly set?: readonly GgufMetadataEntry[];
  /** Old name to new name. The value stays, and so does its place. */
  readonly rename?: ReadonlyMap<string, string>;
  readonly remove?: readonly string[];
}

export interface GgufEditPlan {
  readonly metadata: readonly GgufMetadataEntry[];
  /** All bytes before the data, padding included. The data follows as it was: offsets of tensors count from its start. */
  readonly header: Uint8Array;
}

/**
 * The header of a GGUF file after changes of its metadata. Tensors keep their names, types, shapes and places. A pure function.
 *
 * Throws `UNSUPPORTED` for keys that the data's layout follows from (`general.alignment`, `split.*`), `RANGE` for keys that are
 * not there or named twice, `FORMAT` for a new name that is taken, `DTYPE` for values that do not fit their type.
 */
export function planGgufMetadataEdit(header: GgufHeader, edits: GgufMetadataEdits): GgufEditPlan {
  const { set = [], rename = new Map<string, string>(), remove = [] } = edits;
  const values = new Map(set.map((entry) => [entry.key, entry]));
  checkKeys([...set.map(({ key }) => key), ...rename.keys(), ...rename.values(), ...remove]);
  for (const key of [...rename.keys(), ...remove]) {
    if (!header.metadata.has(key)) fail('RANGE', `${key}: the file has no such key; list its metadata`, key);
  }
  const metadata: GgufMetadataEntry[] = [];
  for (const [key, value] of header.metadata) {
    if (remove.includes(key)) continue;
    metadata.push(values.get(key) ?? { key: rename.get(key) ?? key, ...value });
    values.delete(key);
  }
  metadata.push(...values.values());
  const layout = ggufLayout(metadata, header.tensors, { alignment: header.alignment });
  return { metadata, header: layout.header };
}

function checkKeys(keys: readonly string[]): void {
  const seen = new Set<string>();
  for (const key of keys) {
    if (key === 'general.alignment' || key.startsWith('split.')) {
      fail('UNSUPPORTED', `${key}: where the data lies follows from it; write the file again to change it`, key);
    }
    if (seen.has(key)) fail('RANGE', `${key}: is edited twice; keep one of the edits`, key);
    seen.add(key);
  }
}

function fail(code: 'RANGE' | 'UNSUPPORTED', message: string, key: string): never {
  throw new HalftoneError(code, message, { where: 'gguf', details: { key } });
}
