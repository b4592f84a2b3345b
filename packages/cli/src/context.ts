import { type ProgressReporter, progressReporter } from './terminal/progress.js';

export interface Streams {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WriteStream;
}

/** What every command needs besides its own options. */
export interface CommandContext {
  readonly streams: Streams;
  readonly json: boolean;
  readonly progress: ProgressReporter;
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal;
  print(text: string): void;
  printJson(value: unknown): void;
}

export function createContext(streams: Streams, argv: readonly string[], signal: AbortSignal): CommandContext {
  const quiet = argv.includes('--quiet');
  return {
    streams,
    json: argv.includes('--json'),
    progress: progressReporter(streams.stderr, quiet),
    signal,
    print: (text) => streams.stdout.write(`${text}\n`),
    printJson: (value) => streams.stdout.write(`${JSON.stringify(value, jsonValue)}\n`),
  };
}

/** JSON has neither bigint nor typed arrays. */
function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>);
  return value;
}
