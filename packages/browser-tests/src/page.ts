/** The program of index.html. Where it stands is in `data-state` of the result: idle, loading, running, done, failed. */
import { openModelUrl } from '@halftone/transformer';
import { type Continuation, type ContinueEvent, continuePrompt } from './continue-prompt.js';
import type { WorkerAnswer, WorkerRequest } from './worker-messages.js';

type Place = 'page' | 'worker';
type Report = (event: ContinueEvent) => void;

const form = element('form', HTMLFormElement);
const prompt = element('prompt', HTMLTextAreaElement);
const place = element('place', HTMLSelectElement);
const threads = element('threads', HTMLSelectElement);
const maxTokens = element('max-tokens', HTMLInputElement);
const button = element('generate', HTMLButtonElement);
const result = element('result', HTMLElement);

show('isolated', crossOriginIsolated ? 'yes' : 'no');
form.addEventListener('submit', (event) => {
  event.preventDefault();
  void run();
});
button.disabled = false;

async function run(): Promise<void> {
  const request: WorkerRequest = {
    modelUrl: new URL('model/', document.baseURI).href,
    prompt: prompt.value,
    maxTokens: maxTokens.valueAsNumber,
    threads: threads.value === 'auto' ? 'auto' : Number(threads.value),
  };
  button.disabled = true;
  show('echo', request.prompt);
  for (const id of ['text', 'message', 'backend', 'used-threads', 'notes', 'loaded', 'speed']) show(id, '');
  result.dataset.state = 'loading';
  try {
    const work = place.value === ('worker' satisfies Place) ? runInWorker : runHere;
    const done = await work(request, report);
    show('speed', speed(done.tokens / done.seconds));
    show('used-threads', String(done.threads));
    show('notes', done.notes.join('; '));
    result.dataset.state = 'done';
  } catch (error) {
    show('message', error instanceof Error ? error.message : String(error));
    result.dataset.state = 'failed';
  }
  button.disabled = false;
}

function report(event: ContinueEvent): void {
  if (event.kind === 'loaded') {
    show('backend', event.backend);
    show('loaded', `${event.seconds.toFixed(2)} s`);
    result.dataset.state = 'running';
  } else {
    element('text', HTMLElement).append(event.text);
    show('speed', speed(event.tokensPerSecond));
  }
}

async function runHere(request: WorkerRequest, onEvent: Report): Promise<Continuation> {
  const source = await openModelUrl(request.modelUrl);
  try {
    return await continuePrompt(source, request, onEvent);
  } finally {
    await source.close();
  }
}

function runInWorker(request: WorkerRequest, onEvent: Report): Promise<Continuation> {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  const finished = new Promise<Continuation>((resolve, reject) => {
    worker.addEventListener('error', (event) => reject(new Error(event.message || 'the worker did not start')));
    worker.addEventListener('message', ({ data }: MessageEvent<WorkerAnswer>) => {
      if (data.kind === 'done') resolve(data.result);
      else if (data.kind === 'failed') reject(new Error(data.message));
      else onEvent(data);
    });
  });
  worker.postMessage(request);
  return finished.finally(() => worker.terminate());
}

function speed(tokensPerSecond: number): string {
  return `${tokensPerSecond.toFixed(tokensPerSecond < 10 ? 1 : 0)} tokens/s`;
}

function show(id: string, text: string): void {
  element(id, HTMLElement).textContent = text;
}

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new TypeError(`the page has no ${type.name} called ${id}`);
  return found;
}
