import type { ByteSource, ReadOptions } from '@halftone/tensor';
import { gguf } from './gguf.js';
import { readImatrixDat } from './imatrix-dat.js';
import type { Imatrix } from './imatrix-entry.js';
import { readImatrixGguf } from './imatrix-gguf.js';

/**
 * Reads an importance matrix of llama.cpp, GGUF or the older `.dat`; the first bytes tell which. The source stays open.
 * Memory: the file. Throws `FORMAT` for damage and for other files.
 */
export async function readImatrix(source: ByteSource, options?: ReadOptions): Promise<Imatrix> {
  const head = await source.read(0, Math.min(4, source.size), options);
  return gguf.sniff(head) ? readImatrixGguf(source, options) : readImatrixDat(source, options);
}
