import { type Awaitable, type BlockKernels, isHalftoneError, type KernelBackend } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { createModel, generate, loadBlock, loadHead, referenceBackend } from '../src/index.js';
import { plainBlockKernels } from '../src/internal/plain-block-kernels.js';
import { TINY, tinySource } from './tiny-models.js';

const names = Object.keys(TINY) as (keyof typeof TINY)[];
const tokens = [5, 17, 3, 3, 40, 22, 9, 1, 30, 12, 7];

/**
 * A reference backend with plain block kernels in a memory that knows which arrays are out. Kernels refuse arrays that were freed
 * or never given; what is freed becomes NaN.
 */
function trackedBackend(answer: 'at once' | 'later' = 'at once', room = Number.POSITIVE_INFINITY) {
  const live = new Map<ArrayBufferLike, Float32Array>();
  const calls = new Set<string>();
  const inner = referenceBackend();
  const plain = plainBlockKernels();
  const check = (array: unknown) => {
    if (array instanceof Float32Array && !live.has(array.buffer)) throw new Error('not an array of this memory');
  };
  const done = (): Awaitable<void> => (answer === 'later' ? new Promise((resolve) => setTimeout(resolve)) : undefined);
  const watched = <Name extends Exclude<keyof BlockKernels, 'allocate' | 'free'>>(name: Name): BlockKernels[Name] => {
    const kernel = plain[name] as (...args: unknown[]) => void;
    return ((...args: unknown[]) => {
      calls.add(name);
      for (const arg of args) {
        check(arg);
        if (name === 'attend' && typeof arg === 'function') {
          for (const part of Object.values(arg(0))) check(part);
        }
      }
      kernel(...args);
      return done();
    }) as BlockKernels[Name];
  };
  const block: BlockKernels = {
    allocate(length) {
      if (live.size >= room) throw new Error('no room');
      const array = new Float32Array(length);
      live.set(array.buffer, array);
      return array;
    },
    free(array) {
      if (live.get(array.buffer) !== array) {
        if (array.length > 0) throw new Error('freed twice, or a part of an array');
        return;
      }
      live.delete(array.buffer);
      array.fill(Number.NaN);
    },
    rmsNorm: watched('rmsNorm'),
    layerNorm: watched('layerNorm'),
    rotate: watched('rotate'),
    activate: watched('activate'),
    add: watched('add'),
    attend: watched('attend'),
  };
  const held = new Set<unknown>();
  const backend: KernelBackend = {
    ...inner,
    block,
    uploadLinear(...args) {
      const weight = inner.uploadLinear(...args);
      held.add(weight);
      return weight;
    },
    linear(weight, x, rows, out) {
      check(x);
      inner.linear(weight, x, rows, out);
      return done();
    },
    release(weight) {
      held.delete(weight);
      inner.release(weight);
    },
  };
  return { backend, live, held, calls };
}

describe.each(names)('%s on block kernels of the backend', (name) => {
  const { source } = tinySource(TINY[name]);

  async function expectedLogits() {
    const model = await createModel(source, { backend: referenceBackend() });
    return (await model.forward(tokens)).data;
  }

  it.each(['at once', 'later'] as const)(
    'gives the same logits when they answer %s, and leaves nothing',
    async (answer) => {
      const { backend, live, held, calls } = trackedBackend(answer);
      const model = await createModel(source, { backend });
      const expected = await expectedLogits();
      const { vocabSize } = source.config;
      // Fewer rows, then more, so that buffers shrink and grow.
      expect((await model.forward(tokens.slice(0, 4))).data).toEqual(expected.subarray(0, 4 * vocabSize));
      expect((await model.forward(tokens)).data).toEqual(expected);
      const out = new Float32Array(2 * vocabSize + 5);
      expect((await model.forward(tokens, { from: 9, out })).data).toEqual(expected.subarray(9 * vocabSize));
      expect(out.subarray(0, 2 * vocabSize)).toEqual(expected.subarray(9 * vocabSize));

      const cache = model.createCache();
      for (const [from, to] of [
        [0, 6],
        [6, 7],
        [7, 8],
        [8, 11],
      ]) {
        const { data } = await model.forward(tokens.slice(from, to), { cache });
        expect(data).toEqual(expected.subarray(from * vocabSize, to * vocabSize));
      }
      expect(calls).toContain('attend');
      expect(calls).toContain(name === 'gpt2' ? 'layerNorm' : 'rmsNorm');
      expect(calls.has('rotate')).toBe(name !== 'gpt2');
      cache.dispose();
      await model.dispose();
      expect(live.size).toBe(0);
      expect(held.size).toBe(0);
    },
  );

  it('gives taps the same values, also when they answer later', async () => {
    const record = async (backend: KernelBackend) => {
      const seen: [string, number[]][] = [];
      const model = await createModel(source, { backend });
      const note =
        (what: string) =>
        async (block: number, ...rest: (string | Float32Array | number)[]) => {
          const values = rest.find((part) => part instanceof Float32Array) as Float32Array;
          seen.push([`${what} ${block}`, [...values]]);
          await Promise.resolve();
        };
      const taps = {
        onBlockInput: note('block in'),
        onBlockOutput: note('block out'),
        onLinearInput: note('in'),
        onLinearOutput: note('out'),
      };
      await model.forward(tokens, { taps });
      await model.dispose();
      return seen;
    };
    expect(await record(trackedBackend('later').backend)).toEqual(await record(referenceBackend()));
  });

  it('gives everything back when loading fails', async () => {
    for (let room = 0; room < 5; room++) {
      const { backend, live, held } = trackedBackend('at once', room);
      await expect(createModel(source, { backend })).rejects.toThrow('no room');
      expect(live.size).toBe(0);
      expect(held.size).toBe(0);
    }
  });
});

describe('parts alone', () => {
  const { source } = tinySource(TINY.llama);

  it('have a workspace of their own, which they give back', async () => {
    const { backend, live, held } = trackedBackend();
    const hidden = backend.block?.allocate(2 * source.config.hiddenSize) as Float32Array;
    const block = await loadBlock(source, 0, backend);
    const head = await loadHead(source, backend);
    await block.run(hidden, { positions: Int32Array.of(0, 1) });
    await head.run(hidden, 2);
    block.dispose();
    block.dispose();
    head.dispose();
    expect([...live.values()]).toEqual([hidden]);
    expect(held.size).toBe(0);
    const refused = () => {
      try {
        block.run(hidden, { positions: Int32Array.of(0) });
      } catch (error) {
        return isHalftoneError(error) && error.code;
      }
    };
    expect(refused()).toBe('DEVICE');
  });
});

describe('memory from token to token', () => {
  it('takes no new array while the cache has room', async () => {
    const { source } = tinySource(TINY.qwen3);
    const { backend, live } = trackedBackend();
    const model = await createModel(source, { backend });
    const cache = model.createCache({ capacity: 60 });
    const options = { cache, sampling: { temperature: 0 }, endTokens: [] };
    let arrays: Float32Array[] | undefined;
    let made = 0;
    for await (const _ of generate(model, tokens, { ...options, maxTokens: 40 })) {
      if (++made === 2) arrays = [...live.values()];
    }
    expect(arrays).toBeDefined();
    expect([...live.values()].every((array, i) => array === arrays?.[i])).toBe(true);
    cache.dispose();
    await model.dispose();
    expect(live.size).toBe(0);
  });
});
