import {
  type ByteSource,
  type Checkpoint,
  type FormatCodec,
  HalftoneError,
  type LazyTensor,
  type ReadOptions,
} from '@halftone/tensor';
import { openNpyTensor } from './internal/npy-tensor.js';
import { NPZ, openZipMembers, type ZipLimits } from './internal/zip-members.js';

export interface NpzOptions {
  /** A compressed array may take this many times its compressed size in memory. Default 100. */
  readonly maxExpansion?: number;
}

export const NPZ_DEFAULTS = { maxExpansion: 100 } as const satisfies NpzOptions;

/** Arrays up to 16 MiB are read whatever their expansion: all-zero ones reach a thousand times. */
const FREE_BYTES = 2 ** 24;

/**
 * Archives of numpy arrays (`np.savez`, `np.savez_compressed`): a zip of `NAME.npy`, each a tensor `NAME`. Needs `@zip.js/zip.js`.
 *
 * Stored arrays are read in the ranges asked for, without a check of their sums. Compressed ones are decompressed from their start
 * at every read; their `byteLength` is the compressed one. A read that would expand beyond `maxExpansion` is refused: `UNSUPPORTED`.
 */
export function npzCodec(options: NpzOptions = {}): FormatCodec {
  const { maxExpansion } = { ...NPZ_DEFAULTS, ...options };
  return {
    name: NPZ,
    extensions: ['.npz'],
    // A local header, or the end of a directory without members.
    sniff: (head) =>
      head[0] === 0x50 && head[1] === 0x4b && ((head[2] === 3 && head[3] === 4) || (head[2] === 5 && head[3] === 6)),
    open: (source, readOptions) => open(source, { maxExpansion, freeBytes: FREE_BYTES }, readOptions),
  };
}

/** `npzCodec()` with its defaults. */
export const npz: FormatCodec = /* @__PURE__ */ npzCodec();

async function open(source: ByteSource, limits: ZipLimits, options?: ReadOptions): Promise<Checkpoint> {
  const tensors = new Map<string, LazyTensor>();
  for (const [member, { source: bytes, compressedBytes }] of await openZipMembers(source, limits, options)) {
    if (!member.endsWith('.npy')) {
      throw new HalftoneError('UNSUPPORTED', `${source.name}: member ${JSON.stringify(member)} is not a .npy array`, {
        where: NPZ,
        details: { member },
      });
    }
    const name = member.slice(0, -4);
    const tensor = await openNpyTensor(bytes, name, options);
    const byteLength = Math.min(tensor.byteLength, compressedBytes);
    tensors.set(name, { ...tensor, byteLength });
  }
  return {
    format: NPZ,
    metadata: new Map(),
    tensors,
    byteLength: source.size,
    async close() {
      await source.close?.();
    },
  };
}
