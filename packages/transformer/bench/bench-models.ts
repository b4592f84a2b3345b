import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomLlamaGguf } from '@halftone/bench';
import { parseRecipe, quantizeModel } from '@halftone/compress';
import { outputFile } from '@halftone/compress/node';
import { openModel } from '../src/node.js';

/** Test models and texts: HALFTONE_SHARED, or `shared` beside the repository. */
export const SHARED = process.env.HALFTONE_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));

/** Where benches keep the files that they make, from one run to the next. */
const MADE = join(tmpdir(), 'halftone-bench');

/** The path of bookworm-29m as a GGUF file of one recipe, made when it is not there; undefined without the test models. */
export async function quantizedBookworm(recipe: string): Promise<string | undefined> {
  const original = join(SHARED, 'models', 'bookworm-29m');
  if (!existsSync(original)) return undefined;
  await mkdir(MADE, { recursive: true });
  const path = join(MADE, `bookworm-29m-${recipe}.gguf`);
  if (existsSync(path)) return path;
  const source = await openModel(original);
  try {
    await quantizeModel(source, { recipe: parseRecipe(recipe), output: outputFile(path) });
  } finally {
    await source.close();
  }
  return path;
}

/** The path of the random llama of 1.1 billion parameters, 637 MB. */
export async function randomLlama(): Promise<string> {
  await mkdir(MADE, { recursive: true });
  return (await randomLlamaGguf(join(MADE, 'random-1.1b-Q4_0.gguf'))).path;
}
