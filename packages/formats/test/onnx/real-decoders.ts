/** Real models beside ONNX Runtime. */
import { readFileSync } from 'node:fs';
import { rtn } from '@halftone/quantizers';
import type { JsonObject } from '@halftone/tensor';
import { loadTokenizer } from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { expect } from 'vitest';
import { sharedModel } from '../support/shared.js';
import {
  type Exported,
  exportDecoder,
  openDecoder,
  ownLogits,
  quantizeAll,
  step,
  withQuantized,
  worst,
} from './decoder.js';
import type { Runtime } from './runtimes.js';

/** Of logits up to 20; float32 sums in another order differ by about 3e-5. */
const CLOSE = 2e-4;
const TEXT =
  'She had never been to the sea before, and when the carriage turned the last corner she forgot what she was saying.';

export async function openShared(name: string) {
  const config = JSON.parse(readFileSync(sharedModel(name, 'config.json'), 'utf8')) as JsonObject;
  const source = await openModel(sharedModel(name));
  const tokenizer = loadTokenizer(source.tokenizer as NonNullable<typeof source.tokenizer>);
  return { config, source, tokens: [...tokenizer.encode(TEXT)] };
}

/** The text at once, and all but its end in one step with the end following token by token. */
export async function expectLogits(
  runtime: Runtime,
  exported: Exported,
  sizes: Parameters<typeof step>[2],
  tokens: readonly number[],
  expected: Float32Array,
): Promise<void> {
  const session = await openDecoder(runtime, exported);
  const whole = await step(runtime, session, sizes, [tokens]);
  expect(worst(whole.logits, expected)).toBeLessThan(CLOSE);
  const vocabulary = expected.length / tokens.length;
  let { cache } = await step(runtime, session, sizes, [tokens.slice(0, -3)]);
  for (let at = tokens.length - 3; at < tokens.length; at++) {
    const next = await step(runtime, session, sizes, [tokens.slice(at, at + 1)], cache);
    expect(worst(next.logits, expected.slice(at * vocabulary, (at + 1) * vocabulary))).toBeLessThan(CLOSE);
    cache = next.cache;
  }
  await session.release();
}

export interface QuantizedCase {
  readonly bits: number;
  readonly mode: 'matmul-nbits' | 'qdq';
  readonly symmetry: 'asymmetric' | 'full-range';
}

/** wren-5m with its linear layers quantized in groups of 32, beside our forward pass over their decoded weights. */
export async function expectQuantizedWren(
  runtimes: readonly Runtime[],
  { bits, mode, symmetry }: QuantizedCase,
): Promise<void> {
  const { config, source, tokens } = await openShared('wren-5m');
  const quantized = await quantizeAll(source, rtn({ bits, granularity: 32, symmetry }));
  const expected = await ownLogits(source, tokens, quantized);
  const weights = withQuantized(source.checkpoint, quantized);
  const exported = await exportDecoder(config, weights, { quantized: mode, floats: 'stored' });
  for (const runtime of runtimes) await expectLogits(runtime, exported, source.config, tokens, expected);
  await source.close();
}
