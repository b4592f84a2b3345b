import { createReadStream, existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { chromium } from 'playwright-core';

/** The part of wllama's API that is used here; the package's own types are sources that other compiler options are made for. */
interface Wllama {
  loadModel(blobs: readonly Blob[], options: Readonly<Record<string, number>>): Promise<void>;
  getNumThreads(): number;
  createCompletion(options: Readonly<Record<string, unknown>>): Promise<{ readonly timings: Timings }>;
  exit(): Promise<void>;
}

interface Timings {
  readonly prompt_n: number;
  readonly prompt_per_second: number;
  readonly predicted_n: number;
  readonly predicted_ms: number;
}

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

export interface WllamaSpeedOptions {
  readonly promptTokens: number;
  readonly decodeTokens: number;
  readonly threads: number;
  /** Runs, of which the best counts. */
  readonly repeats: number;
}

export interface WllamaSpeed {
  readonly prompt: number;
  readonly decode: number;
}

export function chromiumAvailable(): boolean {
  return existsSync(CHROMIUM);
}

/**
 * Tokens a second of wllama on a GGUF file in headless Chromium, in a page that may use threads. Times are those that its
 * llama.cpp reports. The prompt is a word that the tokenizer must hold as one token.
 */
export async function wllamaSpeed(path: string, options: WllamaSpeedOptions): Promise<WllamaSpeed> {
  const server = await serve(path);
  const { port } = server.address() as AddressInfo;
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(0);
    await page.goto(`http://127.0.0.1:${port}/`);
    return await page.evaluate(measure, options);
  } finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
}

/** Runs in the page. */
async function measure(options: WllamaSpeedOptions): Promise<WllamaSpeed> {
  const { promptTokens, decodeTokens, threads, repeats } = options;
  const script = '/wllama/index.js';
  const { Wllama } = (await import(script)) as { Wllama: new (paths: unknown, options: unknown) => Wllama };
  const wllama = new Wllama({ default: '/wllama/wasm/wllama.wasm' }, { suppressNativeLog: true });
  const model = await (await fetch('/model.gguf')).blob();
  await wllama.loadModel([model], {
    n_ctx: promptTokens + decodeTokens + 1,
    n_threads: threads,
    n_gpu_layers: 0,
    n_parallel: 1,
  });
  if (wllama.getNumThreads() !== threads) throw new Error(`wllama took ${wllama.getNumThreads()} threads`);
  const best = { prompt: 0, decode: 0 };
  for (let run = 0; run < repeats; run++) {
    const { timings } = await wllama.createCompletion({
      prompt: ' the'.repeat(promptTokens),
      max_tokens: decodeTokens + 1,
      temperature: 0,
      samplers: ['temperature'],
      ignore_eos: true,
      cache_prompt: false,
    });
    if (timings.prompt_n !== promptTokens || timings.predicted_n !== decodeTokens + 1)
      throw new Error(`wllama ran something else: ${JSON.stringify(timings)}`);
    best.prompt = Math.max(best.prompt, timings.prompt_per_second);
    // The first token comes out of the prompt.
    best.decode = Math.max(best.decode, (1000 * decodeTokens) / timings.predicted_ms);
  }
  await wllama.exit();
  return best;
}

/** Serves an empty page, wllama's files and the model, with the headers that a page needs for threads. */
async function serve(model: string): Promise<Server> {
  const folder = dirname(createRequire(import.meta.url).resolve('@wllama/wllama/esm/index.js'));
  const server = createServer(async (request, response) => {
    const url = request.url ?? '/';
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    if (url === '/') {
      response.setHeader('Content-Type', 'text/html');
      response.end('<!doctype html><title>wllama</title>');
      return;
    }
    const file = url === '/model.gguf' ? model : join(folder, url.replace(/^\/wllama\//, ''));
    const types: Record<string, string> = { js: 'text/javascript', wasm: 'application/wasm' };
    response.setHeader('Content-Type', types[file.split('.').at(-1) ?? ''] ?? 'application/octet-stream');
    try {
      response.setHeader('Content-Length', (await stat(file)).size);
      createReadStream(file).pipe(response);
    } catch {
      response.removeHeader('Content-Type');
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
