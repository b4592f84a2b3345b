/**
 * What rounding activations to int8 costs: perplexity of bookworm-29m from GGUF files, with int8 and with float activations, on the
 * first windows of the held-out books. Needs the test models.
 *
 *   pnpm --filter @halftone/transformer bench:activations [--windows 8] [--json]
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BenchResult, numberArgument, printBench } from '@halftone/bench';
import { PROTOCOLS, perplexity, transformerLogits } from '@halftone/eval';
import { wasmBackend } from '@halftone/kernels-wasm';
import { createModel, loadTokenizer } from '../src/index.js';
import { openModel } from '../src/node.js';
import { quantizedBookworm, SHARED } from './bench-models.js';

/** Characters of text for a window of 1024 tokens, and some more. */
const WINDOW_CHARACTERS = 8192;

const maxWindows = numberArgument('--windows', 8);
const results: BenchResult[] = [];
for (const recipe of ['Q8_0', 'Q4_0']) {
  const path = await quantizedBookworm(recipe);
  if (path === undefined) continue;
  const ours = await measure(path, 'int8');
  const peer = await measure(path, 'float');
  const name = `bookworm-29m ${recipe}, int8 activations`;
  results.push({ name, ours, unit: '', peer, peerName: 'float activations', ratio: peer / ours, goal: 0.995 });
}
if (results.length === 0) process.stderr.write('The test models are not here: nothing to measure.\n');
printBench({ title: `Perplexity on ${maxWindows} windows of held-out text`, results });

async function measure(path: string, activations: 'int8' | 'float'): Promise<number> {
  const backend = wasmBackend({ activations });
  const source = await openModel(path);
  try {
    const tokenizer = loadTokenizer(source.tokenizer ?? missingTokenizer());
    const text = await readFile(join(SHARED, 'data', 'books-heldout.txt'), 'utf8');
    const tokens = tokenizer.encode(text.slice(0, maxWindows * WINDOW_CHARACTERS));
    const model = await createModel(source, { backend });
    const result = await perplexity(transformerLogits(model), tokens, PROTOCOLS.disjoint, { maxWindows });
    if (result.windows !== maxWindows) throw new Error(`the text has ${result.windows} windows`);
    await model.dispose();
    return result.perplexity;
  } finally {
    await source.close();
    await backend.dispose();
  }
}

function missingTokenizer(): never {
  throw new Error('the file has no tokenizer');
}
