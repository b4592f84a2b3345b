import { describe, it } from 'vitest';
import { hasSharedModels } from '../support/shared.js';
import { exportDecoder, ownLogits } from './decoder.js';
import { expectLogits, expectQuantizedWren, openShared } from './real-decoders.js';
import { RUNTIMES, type Runtime } from './runtimes.js';

const [node, web] = RUNTIMES as [Runtime, Runtime];

describe.skipIf(!hasSharedModels)('real models in ONNX Runtime (needs the shared models)', () => {
  it.each([
    ['wren-5m', [node, web]],
    ['bookworm-gpt2-14m', [node]],
  ])('%s has the logits of our forward pass', async (name, runtimes) => {
    const { config, source, tokens } = await openShared(name);
    const expected = await ownLogits(source, tokens);
    const exported = await exportDecoder(config, source.checkpoint);
    for (const runtime of runtimes) await expectLogits(runtime, exported, source.config, tokens, expected);
    await source.close();
  });

  it('wren-5m in 4 bits has those of its decoded weights', async () => {
    await expectQuantizedWren([node], { bits: 4, mode: 'matmul-nbits', symmetry: 'asymmetric' });
  });
});
