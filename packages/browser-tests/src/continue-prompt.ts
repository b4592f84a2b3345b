import { wasmBackend } from '@halftone/kernels-wasm';
import { HalftoneError } from '@halftone/tensor';
import { createModel, generate, loadTokenizer, type ModelSource } from '@halftone/transformer';
import { checkProduct } from './check-product.js';

export interface ContinueRequest {
  readonly prompt: string;
  readonly maxTokens: number;
  readonly threads: 'auto' | number;
}

export interface Continuation {
  readonly text: string;
  readonly tokens: number;
  readonly backend: string;
  /** As many as there were in the end: that no worker may start is only known when one is wanted. */
  readonly threads: number;
  /** Why there were fewer threads than asked for, or another build. */
  readonly notes: readonly string[];
  /** Seconds in the model, the prompt included; not what the caller does between tokens. */
  readonly seconds: number;
}

/** `loaded`, then a `text` for each token. */
export type ContinueEvent =
  | { readonly kind: 'loaded'; readonly backend: string; readonly seconds: number }
  | { readonly kind: 'text'; readonly text: string; readonly tokensPerSecond: number };

/**
 * Tries the WebAssembly backend on a known product, loads the model on it, and continues the prompt greedily. Between tokens
 * other tasks have their turn. Everything but `source` is released at the end.
 */
export async function continuePrompt(
  source: ModelSource,
  { prompt, maxTokens, threads }: ContinueRequest,
  report: (event: ContinueEvent) => void,
): Promise<Continuation> {
  if (source.tokenizer === undefined)
    throw new HalftoneError('FORMAT', 'the model has no tokenizer.json', { where: 'continuePrompt' });
  const started = performance.now();
  const backend = wasmBackend({ threads });
  try {
    await checkProduct(backend);
    const model = await createModel(source, { backend });
    report({ kind: 'loaded', backend: backend.name, seconds: (performance.now() - started) / 1000 });
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
      report({ kind: 'text', text: value.text, tokensPerSecond: tokens / seconds });
      await nextTask();
    }
    await model.dispose();
    return { text, tokens, backend: backend.name, threads: backend.threads, notes: backend.notes, seconds };
  } finally {
    await backend.dispose();
  }
}

/** Lets a page draw and take input, and a worker take messages and start the backend's threads, which needs its event loop. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve);
  });
}
