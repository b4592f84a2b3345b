import type { Awaitable, ByteSink } from '@halftone/tensor';

/**
 * Runs what writes to a sink, and aborts the sink when it fails. The reason is thrown even where the sink cannot clean up either:
 * a full disk may cause both.
 */
export async function abortOnFailure<T>(sink: Pick<ByteSink, 'abort'>, work: () => Awaitable<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await sink.abort().catch(() => undefined);
    throw error;
  }
}
