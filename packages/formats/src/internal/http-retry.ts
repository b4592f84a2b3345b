import { HalftoneError, isHalftoneError, throwIfAborted } from '@halftone/tensor';

export interface RetryPolicy {
  readonly fetch: typeof fetch;
  readonly retries: number;
  /** Milliseconds. */
  readonly retryDelay: number;
}

const LONGEST_DELAY = 8_000;
const LONGEST_RETRY_AFTER = 30_000;
const WHERE = 'httpSource';

/**
 * Fetches and uses the answer, again where that may help: status 408, 429 and 5xx, connections that fail or end early.
 * The body of an answer that `use` did not read to its end is cancelled.
 */
export async function fetchWithRetry<T>(
  policy: RetryPolicy,
  url: string | URL,
  init: { headers: Record<string, string>; signal: AbortSignal | undefined },
  name: string,
  use: (response: Response) => Promise<T>,
): Promise<T> {
  // Called as a function: as a method of the policy, a browser's fetch refuses.
  const { fetch } = policy;
  for (let attempt = 0; ; attempt++) {
    throwIfAborted(init.signal, WHERE);
    let response: Response | undefined;
    let failure: HalftoneError;
    try {
      response = await fetch(url, init);
      if (response.status !== 408 && response.status !== 429 && response.status < 500) return await use(response);
      failure = new HalftoneError(
        'IO',
        `${name}: the server answered ${response.status} ${response.statusText}; try later`,
        {
          where: WHERE,
          details: { status: response.status, attempts: attempt + 1 },
        },
      );
    } catch (cause) {
      throwIfAborted(init.signal, WHERE);
      if (isHalftoneError(cause) && cause.details.shortBody !== true) throw cause;
      failure = isHalftoneError(cause)
        ? cause
        : new HalftoneError('IO', `${name}: the connection failed; check the address and the network`, {
            where: WHERE,
            details: { attempts: attempt + 1 },
            cause,
          });
    } finally {
      if (response?.bodyUsed === false) await response.body?.cancel().catch(() => undefined);
    }
    if (attempt >= policy.retries) throw failure;
    await pause(delayBefore(policy, attempt, response), init.signal);
  }
}

function delayBefore(policy: RetryPolicy, attempt: number, response: Response | undefined): number {
  const seconds = Number(response?.headers.get('retry-after') ?? Number.NaN);
  if (seconds >= 0) return Math.min(seconds * 1000, LONGEST_RETRY_AFTER);
  return Math.min(policy.retryDelay * 2 ** attempt, LONGEST_DELAY);
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new HalftoneError('ABORTED', 'the work was cancelled', { where: WHERE, cause: signal?.reason }));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
