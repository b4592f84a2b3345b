/**
 * Memory over 1000 greedy tokens of bookworm-29m in Q4_0, after some to warm up and with room for all in the cache: growth of what
 * stays (heap and array buffers after a collection), and all that is allocated, which the young generation of 64 MB holds without
 * a collection. Needs the test models.
 *
 *   pnpm --filter @halftone/transformer bench:memory [--tokens 1000] [--json]
 */
import { type BenchResult, numberArgument, printBench } from '@halftone/bench';
import { wasmBackend } from '@halftone/kernels-wasm';
import type { FullCache } from '@halftone/kv-cache';
import { createModel, greedy } from '../src/index.js';
import { openModel } from '../src/node.js';
import { quantizedBookworm } from './bench-models.js';

const LIMIT = 1e6;
/** Engines compile and recompile loops in the first tokens. */
const WARM_UP = 200;

const count = numberArgument('--tokens', 1000);
const path = await quantizedBookworm('Q4_0');
if (path === undefined) process.stderr.write('The test models are not here: nothing to measure.\n');
const results = path === undefined ? [] : [...(await measure(path, 1)), ...(await measure(path, 2))];
printBench({ title: `Memory over ${count} decoded tokens`, results });

async function measure(path: string, threads: number): Promise<BenchResult[]> {
  const backend = wasmBackend({ threads });
  const source = await openModel(path);
  const model = await createModel(source, { backend });
  const newCache = (capacity: number) => model.createCache({ capacity });
  const out = new Float32Array(model.config.vocabSize);
  const token = new Int32Array(1);
  const decode = async (cache: FullCache, tokens: number) => {
    for (let i = 0; i < tokens; i++) {
      token[0] = greedy(out);
      await model.forward(token, { cache, out });
    }
  };
  await decode(newCache(WARM_UP), WARM_UP);
  const cache = newCache(count);
  const before = usage();
  await decode(cache, count);
  const allocated = used() - before;
  const kept = usage() - before;
  await model.dispose();
  await source.close();
  await backend.dispose();
  const name = `${threads} thread${threads > 1 ? 's' : ''}`;
  return [
    {
      name: `growth, ${name}`,
      ours: kept / 1e3,
      unit: 'kB',
      peer: LIMIT / 1e3,
      peerName: 'limit',
      ratio: LIMIT / Math.max(kept, 1),
      goal: 1,
    },
    { name: `allocated, ${name}`, ours: allocated / 1e3, unit: 'kB' },
  ];
}

/** Bytes after a collection. */
function usage(): number {
  if (globalThis.gc === undefined) throw new Error('start node with --expose-gc');
  globalThis.gc();
  return used();
}

function used(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
