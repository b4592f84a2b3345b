import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** One product of another library, measured in a process of its own: libraries fix their number of threads at the start. */
export interface Peer {
  /** Best of `repeats` runs with so many rows, in seconds. */
  seconds(rows: number, repeats: number): Promise<number>;
  close(): void;
}

export interface PeerRequest {
  readonly rows: number;
  readonly repeats: number;
}

/** Starts a script of this folder that calls `answerRequests`. */
export function startPeer(script: string, threads: number): Peer {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), [String(threads)]);
  return {
    seconds: (rows, repeats) => ask(child, { rows, repeats }),
    close: () => child.kill(),
  };
}

function ask(child: ChildProcess, request: PeerRequest): Promise<number> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`the peer ended with exit code ${code}`));
    child.once('exit', onExit);
    child.once('message', (seconds: number) => {
      child.off('exit', onExit);
      resolve(seconds);
    });
    child.send(request);
  });
}

/** In the peer's process: `prepare` gives what runs one product with so many rows. */
export function answerRequests(prepare: (rows: number) => () => Promise<void> | void): void {
  // Threads of a library would keep the process alive after the bench has ended.
  process.once('disconnect', () => process.exit());
  process.on('message', async ({ rows, repeats }: PeerRequest) => {
    const run = prepare(rows);
    await run();
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < repeats; i++) {
      const start = performance.now();
      await run();
      best = Math.min(best, (performance.now() - start) / 1000);
    }
    process.send?.(best);
  });
}
