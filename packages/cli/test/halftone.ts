import { PassThrough } from 'node:stream';
import { run } from '../src/index.js';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process. */
export async function halftone(...argv: string[]): Promise<CommandResult> {
  const texts = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr') =>
    new PassThrough().setEncoding('utf8').on('data', (piece: string) => {
      texts[name] += piece;
    });
  const stdout = stream('stdout');
  const stderr = stream('stderr') as unknown as NodeJS.WriteStream;
  const code = await run(argv, { stdout, stderr });
  return { code, ...texts };
}
