/** A static web server on 127.0.0.1 with the headers one asks for. Answers range requests, as a model's host does. */
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, sep } from 'node:path';

/** @type {Record<string, string>} */
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
};

/**
 * @param {Record<string, string>} folders   URL path, `/` or `/name/`: the folder that is served there
 * @param {Record<string, string>} headers   sent with every answer
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 */
export async function serve(folders, headers) {
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    const file = fileAt(folders, request.url ?? '/');
    if (file) send(file, request, response);
    else response.writeHead(404).end();
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', () => resolve(undefined));
  });
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    url: `http://127.0.0.1:${port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The longest URL path that fits says the folder. @param {Record<string, string>} folders @param {string} url */
function fileAt(folders, url) {
  const path = decodeURIComponent(new URL(url, 'http://127.0.0.1').pathname);
  const prefix = Object.keys(folders)
    .filter((candidate) => path.startsWith(candidate))
    .sort((a, b) => b.length - a.length)[0];
  const rest = path.slice(prefix.length);
  const file = join(folders[prefix], rest === '' ? 'index.html' : rest);
  const isInside = file.startsWith(folders[prefix] + sep);
  return isInside && statSync(file, { throwIfNoEntry: false })?.isFile() ? file : undefined;
}

/** @param {string} file @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
function send(file, request, response) {
  const { size } = statSync(file);
  response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
  response.setHeader('accept-ranges', 'bytes');
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const start = Number(from ?? 0);
  const end = Math.min(to ? Number(to) : size - 1, size - 1);
  if (from !== undefined) {
    if (start > end) {
      response.writeHead(416, { 'content-range': `bytes */${size}` }).end();
      return;
    }
    response.writeHead(206, { 'content-range': `bytes ${start}-${end}/${size}` });
  }
  createReadStream(file, { start, end: Math.max(end, 0) }).pipe(response);
}
