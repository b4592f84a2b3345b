import { wasmBackend } from '@halftone/kernels-wasm';
import { HalftoneError } from '@halftone/tensor';
import { createModel, generate, loadTokenizer, type ModelSource } from '@halftone/transformer';
import { checkProduct } from './check-product.js';

export interface ContinueRequest {
  readonly prompt: string;
  readonly maxTokens: number;
}

export interface Continuation {
  readonly text: string;
  readonly tokens: number;
  readonly backend: string;
  readonly threads: number;
  /** Seconds in the model, the prompt included; not what the caller does between tokens. */
  readonly seconds: number;
}

/** `loaded`, then a `text` for each token. */
export type ContinueEvent =
  | { readonly kind: 'loaded'; readonly backend: string; readonly threads: number; readonly seconds: number }
  | { readonly kind: 'text'; readonly text: string; readonly tokensPerSecond: number };

/**
 * Tries the WebAssembly backend on a known product, loads the model on it, and continues the prompt greedily. `report` is
 * awaited between tokens, so that a page can draw. Everything but `source` is released at the end.
 */
export async function continuePrompt(
  source: ModelSource,
  { prompt, maxTokens }: ContinueRequest,
  report: (event: ContinueEvent) => void | Promise<void>,
): Promise<Continuation> {
  if (source.tokenizer === undefined)
    throw new HalftoneError('FORMAT', 'the model has no tokenizer.json', { where: 'continuePrompt' });
  const started = performance.now();
  const backend = wasmBackend();
  try {
    await checkProduct(backend);
    const model = await createModel(source, { backend });
    const { name } = backend;
    const threads = 1;
    await report({ kind: 'loaded', backend: name, threads, seconds: (performance.now() - started) / 1000 });
    const tokenizer = loadTokenizer(source.tokenizer);
    const pieces = generate(model, tokenizer.encode(prompt), { maxTokens, tokenizer, sampling: { temperature: 0 } });
    let text = '';
    let tokens = 0;
    let seconds = 0;
    for (;;) {
      const before = performance.now();
      const { value, done } = await pieces.next();
      seconds += (performance.now() - before) / 1000;
      if (done) break;
      text += value.text;
      tokens++;
      await report({ kind: 'text', text: value.text, tokensPerSecond: tokens / seconds });
    }
    await model.dispose();
    return { text, tokens, backend: name, threads, seconds };
  } finally {
    await backend.dispose();
  }
}
