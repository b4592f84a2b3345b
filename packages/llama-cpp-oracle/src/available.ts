import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HalftoneError } from '@halftone/tensor';

/** Where llama.cpp's shared libraries lie. */
export interface LlamaLibraries {
  readonly directory: string;
  readonly ggmlBase: string;
  readonly ggml: string;
  readonly llama: string;
}

const require = createRequire(import.meta.url);

/**
 * Finds the libraries of `@node-llama-cpp/linux-x64`, or undefined where that package or koffi is not installed.
 * Their file names carry a version, so the folder is searched.
 */
export function findLlamaLibraries(): LlamaLibraries | undefined {
  try {
    require.resolve('koffi');
    const main = require.resolve('@node-llama-cpp/linux-x64');
    const directory = join(dirname(main), '..', 'bins', 'linux-x64');
    const names = readdirSync(directory);
    const file = (pattern: RegExp): string => {
      const name = names.find((candidate) => pattern.test(candidate));
      if (name === undefined) throw new Error(`no file ${pattern} in ${directory}`);
      return join(directory, name);
    };
    return {
      directory,
      ggmlBase: file(/^libggml-base\.so/),
      ggml: file(/^libggml(\.v.*)?\.so/),
      llama: file(/^libllama(\.v.*)?\.so/),
    };
  } catch {
    return undefined;
  }
}

/** Whether llama.cpp's libraries and koffi are installed here. False on anything but linux-x64. */
export function oracleAvailable(): boolean {
  return process.platform === 'linux' && process.arch === 'x64' && findLlamaLibraries() !== undefined;
}

/** The libraries, or `UNSUPPORTED`. */
export function requireLlamaLibraries(): LlamaLibraries {
  const libraries = oracleAvailable() ? findLlamaLibraries() : undefined;
  if (libraries === undefined) {
    throw new HalftoneError(
      'UNSUPPORTED',
      'koffi and @node-llama-cpp/linux-x64 are not installed, or this is not linux-x64; ask oracleAvailable() first',
      { where: 'llama-cpp-oracle' },
    );
  }
  return libraries;
}

/** The script that runs in the child process. It is plain JavaScript, because Node must run it without a build. */
export const WORKER_PATH = fileURLToPath(new URL('../worker/llama-worker.mjs', import.meta.url));

/** koffi, loaded only when something is called. */
export function loadKoffi(): typeof import('koffi') {
  return require('koffi') as typeof import('koffi');
}
