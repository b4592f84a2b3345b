import { type ByteSink, HalftoneError } from '@halftone/tensor';

export interface MemorySink extends ByteSink {
  /** Everything written, in one array. Throws `IO` before `commit` and after `abort`. */
  bytes(): Uint8Array;
}

/** Collects what is written in memory: tests, small files, downloads made in a page. */
export function memorySink(): MemorySink {
  const where = 'memorySink';
  let chunks: Uint8Array[] = [];
  let position = 0;
  let state: 'open' | 'committed' | 'aborted' = 'open';

  function checkOpen(): void {
    if (state !== 'open') throw new HalftoneError('IO', `the sink is ${state}; make a new one`, { where });
  }

  return {
    get position() {
      return position;
    },
    async write(bytes) {
      checkOpen();
      chunks.push(bytes.slice());
      position += bytes.length;
    },
    async commit() {
      checkOpen();
      const whole = new Uint8Array(position);
      let at = 0;
      for (const chunk of chunks) {
        whole.set(chunk, at);
        at += chunk.length;
      }
      chunks = [whole];
      state = 'committed';
    },
    async abort() {
      if (state === 'committed') return;
      chunks = [];
      state = 'aborted';
    },
    bytes() {
      if (state !== 'committed') throw new HalftoneError('IO', 'nothing is committed yet', { where });
      return chunks[0] as Uint8Array;
    },
  };
}
