import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FileServer {
  /** Ends in `/`. */
  readonly url: string;
  /** Path and query of each request, and the bytes that were sent. */
  readonly requests: { readonly path: string; readonly bytes: number }[];
  close(): Promise<void>;
}

/** Serves files by path on a free port, whole or by ranges. `files` may change while it runs. */
export async function serveFiles(files: ReadonlyMap<string, Uint8Array>): Promise<FileServer> {
  const requests: FileServer['requests'] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    const file = files.get(path.replace(/\?.*/, ''));
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (file === undefined) {
      response.writeHead(404).end();
    } else if (range === null) {
      response.writeHead(200).end(file);
    } else {
      const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, file.length)];
      response.writeHead(206, { 'content-range': `bytes ${start}-${end - 1}/${file.length}` });
      response.end(file.subarray(start, end));
      requests.push({ path, bytes: end - start });
      return;
    }
    requests.push({ path, bytes: file?.length ?? 0 });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    requests,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
