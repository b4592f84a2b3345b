import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TensorEntry } from '@halftone/tensor';
import { afterEach, describe, expect, it } from 'vitest';
import { httpSource, openCheckpoint, safetensors } from '../src/index.js';
import { entryBytes, expectFailure, fillBytes, safetensorsFile } from './support/files.js';

type Handler = (request: IncomingMessage, response: ServerResponse, range: [number, number], count: number) => void;

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** A server on a free port; `count` is the number of the request, from 1. */
async function serve(handler: Handler): Promise<{ url: string; requests: () => number }> {
  let count = 0;
  const server = createServer((request, response) => {
    const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    handler(request, response, [Number(match?.[1]), Number(match?.[2]) + 1], ++count);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/model.bin?signature=secret`, requests: () => count };
}

function answer(
  response: ServerResponse,
  file: Uint8Array,
  [start, end]: [number, number],
  headers: Record<string, string> = {},
): void {
  response.writeHead(206, { 'content-range': `bytes ${start}-${end - 1}/${file.length}`, ...headers });
  response.end(file.subarray(start, end));
}

const file = fillBytes('http', 1000);
const quick = { retryDelay: 1 };

describe('httpSource', () => {
  it('reads ranges and sends the given headers', async () => {
    const authorizations = new Set<string | undefined>();
    const { url, requests } = await serve((request, response, range) => {
      authorizations.add(request.headers.authorization);
      answer(response, file, range);
    });
    const source = await httpSource(url, { headers: { authorization: 'Bearer x' } });
    expect(source.size).toBe(1000);
    expect(await source.read(10, 30)).toEqual(file.slice(10, 30));
    expect(await source.read(999, 1000)).toEqual(file.slice(999));
    expect(await source.read(5, 5)).toEqual(new Uint8Array(0));
    expect(requests()).toBe(3);
    expect(authorizations).toEqual(new Set(['Bearer x']));
    const into = new Uint8Array(new SharedArrayBuffer(100), 50, 20);
    expect(await source.read(10, 30, { into })).toBe(into);
    expect([...into]).toEqual([...file.subarray(10, 30)]);
    await expectFailure(() => source.read(10, 31, { into }), 'RANGE', '20', '21');
    await expectFailure(() => source.read(990, 1001), 'RANGE', '1000');
  });

  it('opens a checkpoint and reads rows', async () => {
    const entry: TensorEntry = { name: 'w', dtype: 'f32', shape: [100, 8] };
    const bytes = await safetensorsFile([entry]);
    const { url } = await serve((_request, response, range) => answer(response, bytes, range));
    const checkpoint = await openCheckpoint(await httpSource(url), { codecs: [safetensors] });
    const rows = await checkpoint.tensors.get('w')?.read({ start: 3, end: 5 });
    expect(rows?.bytes).toEqual(entryBytes(entry).slice(96, 160));
  });

  it('knows empty files', async () => {
    const { url } = await serve((_request, response) =>
      response.writeHead(416, { 'content-range': 'bytes */0' }).end(),
    );
    expect((await httpSource(url)).size).toBe(0);
  });

  it('says when the server ignores ranges, without reading the body and without the query', async () => {
    let sent = 0;
    const { url } = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': String(2 ** 40) });
      const timer = setInterval(() => {
        sent += 65536;
        response.write(new Uint8Array(65536));
      }, 1);
      response.on('close', () => clearInterval(timer));
    });
    await expectFailure(() => httpSource(url), 'UNSUPPORTED', 'ignores range requests', '/model.bin');
    const error = await httpSource(url).catch(String);
    expect(error).not.toContain('secret');
    expect(sent).toBeLessThan(64 * 1024 * 1024);
  });

  it.each([429, 503, 500, 408])('tries again after %i', async (status) => {
    const { url, requests } = await serve((_request, response, range, count) => {
      if (count % 2 === 1) response.writeHead(status).end('later');
      else answer(response, file, range);
    });
    const source = await httpSource(url, quick);
    expect(await source.read(0, 1000)).toEqual(file);
    expect(requests()).toBe(4);
  });

  it('gives up after the retries', async () => {
    const { url, requests } = await serve((_request, response) => response.writeHead(503).end());
    await expectFailure(() => httpSource(url, { ...quick, retries: 2 }), 'IO', '503');
    expect(requests()).toBe(3);
  });

  it.each([404, 401, 403, 416])('does not try again after %i', async (status) => {
    const { url, requests } = await serve((_request, response) => response.writeHead(status).end());
    await expectFailure(() => httpSource(url, quick), 'IO', String(status));
    expect(requests()).toBe(1);
  });

  it('tries again when the connection is cut, and then gives up', async () => {
    const cut: Handler = (_request, response, [start, end]) => {
      response.writeHead(206, {
        'content-range': `bytes ${start}-${end - 1}/1000`,
        'content-length': String(end - start),
      });
      response.write(file.subarray(start, end - 1));
      setTimeout(() => response.destroy(), 5);
    };
    const once = await serve((request, response, range, count) => {
      if (count === 2) cut(request, response, range, count);
      else answer(response, file, range);
    });
    const source = await httpSource(once.url, quick);
    expect(await source.read(100, 900)).toEqual(file.slice(100, 900));
    const always = await serve((request, response, range, count) => {
      if (count > 1) cut(request, response, range, count);
      else answer(response, file, range);
    });
    const broken = await httpSource(always.url, { ...quick, retries: 1 });
    await expectFailure(() => broken.read(100, 900), 'IO');
    await expectFailure(() => httpSource('http://127.0.0.1:9/x', { ...quick, retries: 0 }), 'IO', 'connection');
  });

  it('refuses bodies that are too long, too short, or of another range', async () => {
    const faulty = async (fault: Handler) => {
      const { url } = await serve((request, response, range, count) => {
        if (count > 1) fault(request, response, range, count);
        else answer(response, file, range);
      });
      const source = await httpSource(url, { ...quick, retries: 1 });
      return () => source.read(100, 200);
    };
    const withBody =
      (body: Uint8Array, contentRange: string): Handler =>
      (_request, response) => {
        response.writeHead(206, { 'content-range': contentRange });
        response.end(body);
      };
    await expectFailure(await faulty(withBody(file, 'bytes 100-199/1000')), 'IO', 'more than the 100');
    await expectFailure(await faulty(withBody(file.subarray(0, 99), 'bytes 100-199/1000')), 'IO', '99 of the 100');
    await expectFailure(
      await faulty(withBody(file.subarray(0, 100), 'bytes 0-99/1000')),
      'IO',
      'bytes 100-199',
      'bytes 0-99/1000',
    );
    await expectFailure(await faulty(withBody(file.subarray(0, 100), 'bytes 100-199/2000')), 'IO', 'changed');
    await expectFailure(await faulty(withBody(file.subarray(0, 100), 'bytes 100-199/*')), 'IO', 'Content-Range');
    await expectFailure(await faulty((_request, response) => response.writeHead(206).end()), 'IO', 'Content-Range');
  });

  it('notices a file that was replaced', async () => {
    const { url } = await serve((_request, response, range, count) =>
      answer(response, file, range, { etag: `"${count}"` }),
    );
    const source = await httpSource(url);
    await expectFailure(() => source.read(0, 10), 'IO', 'changed');
  });

  it('stops on abort: before, while waiting for a retry, and while receiving', async () => {
    const { url } = await serve((_request, response, range, count) => {
      if (count === 1) answer(response, file, range);
      else if (count === 2) response.writeHead(429, { 'retry-after': '30' }).end();
      else
        response.writeHead(206, { 'content-range': `bytes ${range[0]}-${range[1] - 1}/1000` }).write(new Uint8Array(1));
    });
    const source = await httpSource(url);
    await expectFailure(() => source.read(0, 10, { signal: AbortSignal.abort() }), 'ABORTED');
    await expectFailure(() => source.read(0, 10, { signal: AbortSignal.timeout(50) }), 'ABORTED');
    await expectFailure(() => source.read(0, 10, { signal: AbortSignal.timeout(50) }), 'ABORTED');
  });

  it('calls fetch as a function, because that of a browser refuses to be a method of something else', async () => {
    const holders: unknown[] = [];
    const source = await httpSource('https://example.com/a', {
      fetch: async function (this: unknown) {
        holders.push(this);
        return new Response(file.slice(0, 1), { status: 206, headers: { 'content-range': 'bytes 0-0/1000' } });
      },
    });
    expect(source.size).toBe(1000);
    expect(holders).toEqual([undefined]);
  });

  it('takes a fetch of the caller and refuses relative URLs', async () => {
    const asked: string[] = [];
    const source = await httpSource('https://example.com/a', {
      fetch: async (input, init) => {
        asked.push(`${String(input)} ${new Headers(init?.headers).get('range')}`);
        const [start, end] = (/bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get('range') ?? '') ?? [])
          .slice(1)
          .map(Number);
        const body = file.slice(start, (end as number) + 1);
        return new Response(body, { status: 206, headers: { 'content-range': `bytes ${start}-${end}/1000` } });
      },
    });
    expect(await source.read(4, 8)).toEqual(file.slice(4, 8));
    expect(asked).toEqual(['https://example.com/a bytes=0-0', 'https://example.com/a bytes=4-7']);
    await expectFailure(() => httpSource('model.gguf'), 'IO', 'model.gguf');
  });
});
