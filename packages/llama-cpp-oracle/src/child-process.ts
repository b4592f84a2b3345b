import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HalftoneError, throwIfAborted } from '@halftone/tensor';
import { requireLlamaLibraries, WORKER_PATH } from './available.js';

const WHERE = 'llama-cpp-oracle';
/** Of llama.cpp's messages, the last characters are kept for errors. */
const LOG_CHARACTERS = 4000;

/** Options of everything that runs in a child process. */
export interface OracleOptions {
  /** Milliseconds until the child is killed. Default 300 000. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

/**
 * ggml's threads wait for each other by spinning: where other work shares the cores, two of them are several times slower
 * than one. The quantizer's threads do not spin.
 */
export const ORACLE_DEFAULTS = { timeout: 300_000, threads: 1, quantizeThreads: 2 } as const;

export interface OracleAnswer {
  readonly result: unknown;
  /** The numbers of the answer, where it has any. */
  readonly binary: Uint8Array | undefined;
}

/**
 * Runs one request in a fresh process, which may abort.
 * Throws `FORMAT` when llama.cpp refuses the request or the process dies, with the end of its log in `details.log`;
 * `ABORTED` by the signal, `IO` when time is up, `UNSUPPORTED` where the libraries are missing.
 */
export async function askWorker(
  operation: string,
  input: unknown,
  options: OracleOptions = {},
  files: Readonly<Record<string, Uint8Array>> = {},
): Promise<OracleAnswer> {
  const libraries = requireLlamaLibraries();
  throwIfAborted(options.signal, WHERE);
  const folder = await mkdtemp(join(tmpdir(), 'llama-oracle-'));
  try {
    await writeFile(join(folder, 'request.json'), JSON.stringify({ operation, input, libraries }));
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
    const { ending, log } = await runWorker(folder, options);
    throwIfAborted(options.signal, WHERE);
    const responsePath = join(folder, 'response.json');
    if (!existsSync(responsePath)) {
      const timedOut = ending === 'timeout';
      throw new HalftoneError(
        timedOut ? 'IO' : 'FORMAT',
        timedOut
          ? `${operation} did not finish in time; raise timeout`
          : `${operation}: llama.cpp ended the process (${ending})`,
        { where: WHERE, details: { operation, ending, log } },
      );
    }
    const response = JSON.parse(await readFile(responsePath, 'utf8')) as { result?: unknown; error?: string };
    if (response.error !== undefined) {
      throw new HalftoneError('FORMAT', `${operation}: ${response.error}${lastLine(log)}`, {
        where: WHERE,
        details: { operation, log },
      });
    }
    const binaryPath = join(folder, 'response.bin');
    return { result: response.result, binary: existsSync(binaryPath) ? await readFile(binaryPath) : undefined };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function runWorker(folder: string, options: OracleOptions): Promise<{ ending: string; log: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [WORKER_PATH, folder], { stdio: ['ignore', 'ignore', 'pipe'] });
    let log = '';
    let ending: string | undefined;
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text: string) => {
      log = (log + text).slice(-LOG_CHARACTERS);
    });
    const stop = (reason: string): void => {
      ending = reason;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => stop('timeout'), options.timeout ?? ORACLE_DEFAULTS.timeout);
    const onAbort = (): void => stop('aborted');
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const settle = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
    };
    child.once('error', (cause) => {
      settle();
      reject(new HalftoneError('IO', 'the child process could not be started', { where: WHERE, cause }));
    });
    child.once('close', (code, signal) => {
      settle();
      resolve({ ending: ending ?? signal ?? `exit code ${code}`, log });
    });
  });
}

function lastLine(log: string): string {
  const line = log.trim().split('\n').at(-1)?.trim() ?? '';
  return line === '' ? '' : ` (${line})`;
}
