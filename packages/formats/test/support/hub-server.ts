import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HubServer {
  readonly url: string;
  /** Paths that were asked for, with their ranges. */
  readonly requests: string[];
  /** Called before a request is answered; true when it has answered itself. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean;
  close(): Promise<void>;
}

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const LARGE = 1000;

/**
 * A server that speaks as much of the Hub's protocol as Halftone uses: revisions, listings in pages of two, and files behind a
 * redirect with an ETag and ranges. Files of 1000 bytes and more are "large": listed with the SHA-256 of their content.
 */
export async function hubServer(files: Readonly<Record<string, Uint8Array>>): Promise<HubServer> {
  const server = createServer((request, response) => {
    hub.requests.push(`${request.url} ${request.headers.range ?? ''}`.trim());
    if (!hub.intercept(request, response)) answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const hub: HubServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    intercept: () => false,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url as string, hub.url);
    const [, repo, what, rest = ''] = /^\/(?:api\/models\/)?(owner\/name)\/(\w+)\/(.*)$/.exec(url.pathname) ?? [];
    const file = rest.split('/').slice(1).map(decodeURIComponent).join('/');
    if (repo === undefined) sendFile(request, response, url.pathname.replace('/cdn/', ''));
    else if (what === 'revision') sendJson(response, { _id: '1', id: repo, modelId: repo, sha: COMMIT });
    else if (what === 'tree') sendPage(response, Number(url.searchParams.get('cursor') ?? 0));
    else if (files[file] === undefined) response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
    else response.writeHead(302, { location: `/cdn/${file}`, 'x-repo-commit': COMMIT }).end();
  }

  function sendPage(response: ServerResponse, from: number): void {
    const names = Object.keys(files);
    const page = names.slice(from, from + 2).map((path) => entry(path, files[path] as Uint8Array));
    const next = `<${hub.url}/api/models/owner/name/tree/${COMMIT}?recursive=true&cursor=${from + 2}>; rel="next"`;
    sendJson(response, page, from + 2 < names.length ? { link: next } : {});
  }

  function sendFile(request: IncomingMessage, response: ServerResponse, path: string): void {
    const file = files[path];
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (file === undefined || range === null) {
      response.writeHead(file === undefined ? 404 : 200).end(file);
      return;
    }
    const [start, end] = [Number(range[1]), Number(range[2]) + 1];
    if (file.length === 0) response.writeHead(416, { 'content-range': 'bytes */0' }).end();
    else {
      const headers = {
        etag: `"${digest('sha256', file)}"`,
        'content-range': `bytes ${start}-${end - 1}/${file.length}`,
      };
      response.writeHead(206, headers).end(file.subarray(start, end));
    }
  }
  return hub;
}

function entry(path: string, bytes: Uint8Array): object {
  const header = new TextEncoder().encode(`blob ${bytes.length}\0`);
  const oid = digest('sha1', Buffer.concat([header, bytes]));
  const lfs =
    bytes.length >= LARGE ? { lfs: { oid: digest('sha256', bytes), size: bytes.length, pointerSize: 130 } } : {};
  return { type: 'file', path, size: bytes.length, oid, ...lfs };
}

function digest(algorithm: string, bytes: Uint8Array): string {
  return createHash(algorithm).update(bytes).digest('hex');
}

function sendJson(response: ServerResponse, value: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}
