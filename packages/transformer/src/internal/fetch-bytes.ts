import type { HttpSourceOptions } from '@halftone/formats';
import { HalftoneError, isHalftoneError, throwIfAborted } from '@halftone/tensor';

const WHERE = 'openModelUrl';

/** Host and path: no credentials, no query. */
export function publicName({ origin, pathname }: URL): string {
  return origin + pathname;
}

/**
 * A whole file, undefined when the server says that there is none. Throws `IO` for other answers, `FORMAT` for more than
 * `maxBytes`, `ABORTED`.
 */
export async function fetchBytes(
  url: URL,
  maxBytes: number,
  { fetch = globalThis.fetch, headers, signal }: Pick<HttpSourceOptions, 'fetch' | 'headers' | 'signal'>,
): Promise<Uint8Array | undefined> {
  const name = publicName(url);
  try {
    const response = await fetch(url, { headers, signal });
    if (!response.ok) await response.body?.cancel();
    if (response.status === 404 || response.status === 410) return undefined;
    if (!response.ok) {
      throw new HalftoneError('IO', `${name}: the server answered ${response.status} ${response.statusText}`, {
        where: WHERE,
        details: { status: response.status },
      });
    }
    return await receive(response, maxBytes, name);
  } catch (cause) {
    throwIfAborted(signal, WHERE);
    if (isHalftoneError(cause)) throw cause;
    throw new HalftoneError('IO', `${name}: the connection failed; check the address and the network`, {
      where: WHERE,
      cause,
    });
  }
}

/** The body, which is given up as soon as it is longer than `maxBytes`: what the server says of its length is not trusted. */
async function receive(response: Response, maxBytes: number, name: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) break;
    pieces.push(value);
    length += value.length;
    if (length > maxBytes) {
      await reader?.cancel();
      throw new HalftoneError('FORMAT', `${name} has more than the ${maxBytes} bytes that are read at most`, {
        where: WHERE,
        details: { maxBytes },
      });
    }
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
