/** A dedicated worker: answers each `WorkerRequest` with `WorkerAnswer` messages. */
import { openModelUrl } from '@halftone/transformer';
import { continuePrompt } from './continue-prompt.js';
import type { WorkerAnswer, WorkerRequest } from './worker-messages.js';

const answer = (message: WorkerAnswer): void => self.postMessage(message);

self.addEventListener('message', async ({ data }: MessageEvent<WorkerRequest>) => {
  try {
    const source = await openModelUrl(data.modelUrl);
    answer({ kind: 'done', result: await continuePrompt(source, data, answer) });
    await source.close();
  } catch (error) {
    answer({ kind: 'failed', message: String(error) });
  }
});
