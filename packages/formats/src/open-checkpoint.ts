import { type ByteSource, type Checkpoint, type FormatCodec, HalftoneError, type ReadOptions } from '@halftone/tensor';

/** Bytes that codecs get to recognise a file. */
const HEAD_BYTES = 64;

export interface OpenCheckpointOptions extends ReadOptions {
  /** Tried in order. */
  readonly codecs: readonly FormatCodec[];
}

/**
 * Opens a weight file with the first codec that recognises its first bytes. File names do not matter.
 *
 * Reads names, types and shapes, no weights. The checkpoint owns the source from then on: `checkpoint.close()` closes it.
 * When opening fails, the source stays open and the caller's.
 * Throws `FORMAT` when no codec recognises the file, and what the codec throws.
 */
export async function openCheckpoint(source: ByteSource, options: OpenCheckpointOptions): Promise<Checkpoint> {
  const head = await source.read(0, Math.min(HEAD_BYTES, source.size), options);
  const codec = options.codecs.find((candidate) => candidate.sniff(head));
  if (codec === undefined) {
    const names = options.codecs.map((candidate) => candidate.name).join(', ') || 'none';
    throw new HalftoneError(
      'FORMAT',
      `${source.name}: not a file of any given format (${names}); check the path or add a codec`,
      {
        where: 'openCheckpoint',
        details: { size: source.size, head: [...head.subarray(0, 16)] },
      },
    );
  }
  return codec.open(source, options);
}
