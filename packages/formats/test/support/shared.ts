import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** The folder with models and texts for tests, beside the repository. */
export const SHARED = process.env.HALFTONE_SHARED ?? resolve(here, '../../../../../shared');

export function sharedModel(...parts: string[]): string {
  return join(SHARED, 'models', ...parts);
}

export const hasSharedModels = existsSync(sharedModel('wren-5m', 'model.safetensors'));
