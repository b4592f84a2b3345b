/**
 * Decodes tokens of wren-5m, and prints as JSON by how many bytes memory that stays has grown from one token to a thousand later,
 * for passes of the model and for `generate`. Run with --expose-gc.
 */
import { fileURLToPath } from 'node:url';
import { modelUrl } from '@halftone/wren-5m';
import { createModel, generate, greedy } from '../src/index.js';
import { openModel } from '../src/node.js';

const WARM_UP = 300;
const TOKENS = 1000;
/** Where a full cache goes on, so that a thousand tokens fit into a context of 512. */
const RESUME = 10;

const source = await openModel(fileURLToPath(modelUrl));
const model = await createModel(source);
const { contextLength, vocabSize } = model.config;
const cache = model.createCache({ capacity: contextLength });
const logits = new Float32Array(vocabSize);
const token = new Int32Array(1);

async function pass(): Promise<void> {
  token[0] = greedy(logits);
  await model.forward(token, { cache, out: logits });
}

let run = continued();

function continued() {
  token[0] = 1;
  return generate(model, token, { cache, sampling: { temperature: 0 }, endTokens: [] });
}

async function generated(): Promise<void> {
  await run.next();
}

async function decode(step: () => Promise<void>, tokens: number): Promise<void> {
  for (let i = 0; i < tokens; i++) {
    if (cache.length(0, 0) > contextLength - 2) {
      cache.truncate(RESUME);
      run = continued();
    }
    await step();
  }
}

function kept(): number {
  globalThis.gc?.();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

async function growth(step: () => Promise<void>): Promise<number> {
  await decode(step, WARM_UP);
  const before = kept();
  await decode(step, TOKENS);
  return kept() - before;
}

const forward = await growth(pass);
cache.clear();
run = continued();
const generation = await growth(generated);
process.stdout.write(JSON.stringify({ forward, generation }));
await model.dispose();
await source.close();
