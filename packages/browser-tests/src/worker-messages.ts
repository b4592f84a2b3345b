import type { Continuation, ContinueEvent, ContinueRequest } from './continue-prompt.js';

/** To the worker: one request. */
export interface WorkerRequest extends ContinueRequest {
  readonly modelUrl: string;
}

/** From the worker: events, then `done` or `failed`. */
export type WorkerAnswer =
  | ContinueEvent
  | { readonly kind: 'done'; readonly result: Continuation }
  | { readonly kind: 'failed'; readonly message: string };
