import type { ByteSink } from '@halftone/tensor';

/** Writes a whole file and commits the sink; on failure the sink is aborted. */
export async function writeBytes(sink: ByteSink, bytes: Uint8Array): Promise<void> {
  try {
    await sink.write(bytes);
    await sink.commit();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}
