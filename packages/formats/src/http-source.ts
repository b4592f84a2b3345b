import { type ByteSource, HalftoneError, type ReadOptions, throwIfAborted } from '@halftone/tensor';
import { checkByteRange, destination } from './internal/byte-range.js';
import { fetchWithRetry, type RetryPolicy } from './internal/http-retry.js';

export interface HttpSourceOptions extends ReadOptions {
  /** Default: the global `fetch`. */
  readonly fetch?: typeof fetch;
  /** Sent with every request, for example `{ authorization: 'Bearer ...' }`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Tries after the first one, for status 408, 429, 5xx and broken connections. Default 4. */
  readonly retries?: number;
  /** Milliseconds before the first retry; doubled for each further one, up to 8 s. `Retry-After` is honoured up to 30 s. Default 300. */
  readonly retryDelay?: number;
}

/** One request asks for this much at most, so that a broken connection costs little. */
const PIECE_BYTES = 32 * 1024 * 1024;
const WHERE = 'httpSource';

/**
 * A file on a web server that answers range requests. One small request finds the size.
 *
 * Every answer is checked: status 206, `Content-Range`, length, and an unchanged `ETag`. Throws `UNSUPPORTED` when the
 * server ignores ranges, `IO` for other failures after the retries, `ABORTED`. Cost: one request for each read of up to
 * 32 MiB. The URL appears in messages without its query, which may hold a signature.
 */
export async function httpSource(url: string | URL, options: HttpSourceOptions = {}): Promise<ByteSource> {
  const name = publicName(url);
  const policy: RetryPolicy = {
    fetch: options.fetch ?? globalThis.fetch,
    retries: options.retries ?? 4,
    retryDelay: options.retryDelay ?? 300,
  };

  function request<T>(
    start: number,
    end: number,
    signal: AbortSignal | undefined,
    use: (response: Response) => Promise<T>,
  ): Promise<T> {
    const headers = { ...options.headers, range: `bytes=${start}-${end - 1}` };
    return fetchWithRetry(policy, url, { headers, signal }, name, use);
  }

  const probe = await request(0, 1, options.signal, async (response) => {
    if (response.status === 416 && response.headers.get('content-range') === 'bytes */0')
      return { size: 0, etag: null };
    const range = contentRange(response, name);
    await receive(response, new Uint8Array(1), name);
    if (range.start !== 0 || range.end !== 1) throw wrongRange(name, response, 0, 1);
    return { size: range.size, etag: response.headers.get('etag') };
  });
  const { size, etag } = probe;

  function readPiece(start: number, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const end = start + bytes.length;
    return request(start, end, signal, async (response) => {
      const range = contentRange(response, name);
      if (range.size !== size || (etag !== null && response.headers.get('etag') !== etag)) {
        throw new HalftoneError('IO', `${name}: the file changed on the server while it was read; open it again`, {
          where: WHERE,
          details: { size, newSize: range.size },
        });
      }
      if (range.start !== start || range.end !== end) throw wrongRange(name, response, start, end);
      await receive(response, bytes, name);
    });
  }

  return {
    name,
    size,
    async read(start, end, readOptions) {
      throwIfAborted(readOptions?.signal, WHERE);
      checkByteRange(start, end, size, WHERE, name);
      const bytes = destination(readOptions, end - start, WHERE, name);
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        await readPiece(start + at, bytes.subarray(at, at + PIECE_BYTES), readOptions?.signal);
      }
      return bytes;
    },
  };
}

/** Host and path: no credentials, no query. */
function publicName(url: string | URL): string {
  try {
    const { origin, pathname } = new URL(url);
    return `${origin}${pathname}`;
  } catch (cause) {
    throw new HalftoneError('IO', `${JSON.stringify(String(url))} is not an absolute URL`, { where: WHERE, cause });
  }
}

function contentRange(response: Response, name: string): { start: number; end: number; size: number } {
  if (response.status === 200) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `${name}: the server ignores range requests; download the file and open it from there`,
      {
        where: WHERE,
        details: { status: 200 },
      },
    );
  }
  if (response.status !== 206) {
    const fix =
      response.status === 401 || response.status === 403 ? 'pass an authorization header' : 'check the address';
    throw new HalftoneError('IO', `${name}: the server answered ${response.status} ${response.statusText}; ${fix}`, {
      where: WHERE,
      details: { status: response.status },
    });
  }
  const header = response.headers.get('content-range') ?? '';
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(header);
  if (match === null) {
    throw new HalftoneError(
      'IO',
      `${name}: the server sent the Content-Range ${JSON.stringify(header)}, which gives no size`,
      {
        where: WHERE,
        details: { header },
      },
    );
  }
  return { start: Number(match[1]), end: Number(match[2]) + 1, size: Number(match[3]) };
}

function wrongRange(name: string, response: Response, start: number, end: number): HalftoneError {
  const header = response.headers.get('content-range');
  return new HalftoneError('IO', `${name}: asked for bytes ${start}-${end - 1}, the server sent ${header}`, {
    where: WHERE,
    details: { start, end, header },
  });
}

/** The body, which must exactly fill `bytes`: a longer one is not read to its end. */
async function receive(response: Response, bytes: Uint8Array, name: string): Promise<void> {
  const { length } = bytes;
  let received = 0;
  const reader = response.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) break;
    if (received + value.length > length) {
      await reader?.cancel();
      throw lengthError(name, received + value.length, length);
    }
    bytes.set(value, received);
    received += value.length;
  }
  if (received !== length) throw lengthError(name, received, length);
}

function lengthError(name: string, received: number, expected: number): HalftoneError {
  const amount = received > expected ? 'more than' : `${received} of`;
  return new HalftoneError('IO', `${name}: the server sent ${amount} the ${expected} bytes asked for`, {
    where: WHERE,
    details: { received, expected, shortBody: received < expected },
  });
}
