import koffi from 'koffi';
import { Batch, ContextParams } from './structs.mjs';

/** Best tokens a second of `repeats` runs after one to warm up: the whole prompt in one batch, then greedy tokens one by one. */
export function measureSpeed(llama, model, vocabulary, { promptTokens, decodeTokens, threads, repeats }) {
  const params = llama.func('llama_context_default_params', ContextParams, [])();
  Object.assign(params, {
    n_ctx: promptTokens + decodeTokens,
    n_batch: promptTokens,
    n_ubatch: promptTokens,
    n_threads: threads,
    n_threads_batch: threads,
  });
  const context = llama.func('llama_init_from_model', 'void *', ['void *', ContextParams])(model, params);
  if (context === null) throw new Error('the context could not be made');
  const memory = llama.func('llama_get_memory', 'void *', ['void *'])(context);
  const clear = llama.func('llama_memory_clear', 'void', ['void *', 'bool']);
  const decode = llama.func('llama_decode', 'int32_t', ['void *', Batch]);
  const getLogits = llama.func('llama_get_logits_ith', 'void *', ['void *', 'int32_t']);

  const advance = (token) => {
    const batch = { n_tokens: token.length, token, embd: null, pos: null, n_seq_id: null, seq_id: null, logits: null };
    const status = decode(context, batch);
    if (status !== 0) throw new Error(`llama_decode of ${token.length} tokens returned ${status}`);
    return largest(new Float32Array(koffi.view(getLogits(context, -1), vocabulary * 4)));
  };
  const prompt = Int32Array.from({ length: promptTokens }, (_, i) => (i * 37 + 5) % vocabulary);
  let promptSeconds = Number.POSITIVE_INFINITY;
  let decodeSeconds = Number.POSITIVE_INFINITY;
  for (let run = -1; run < repeats; run++) {
    clear(memory, true);
    const start = performance.now();
    let next = advance(prompt);
    const middle = performance.now();
    for (let i = 0; i < decodeTokens; i++) next = advance(Int32Array.of(next));
    const end = performance.now();
    if (run < 0) continue;
    promptSeconds = Math.min(promptSeconds, (middle - start) / 1000);
    decodeSeconds = Math.min(decodeSeconds, (end - middle) / 1000);
  }
  return {
    promptTokensPerSecond: promptTokens / promptSeconds,
    decodeTokensPerSecond: decodeTokens / decodeSeconds,
  };
}

function largest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
