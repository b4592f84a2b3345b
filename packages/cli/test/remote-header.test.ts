import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ggufLayout } from '@halftone/formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { halftone } from './halftone.js';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const HUNDRED_GB = 100e9;

/** A hundred tensors of a gigabyte. Its header is real, the rest of the file does not exist. */
const layout = ggufLayout(
  [{ key: 'general.architecture', type: 'string', value: 'enormous' }],
  Array.from({ length: 100 }, (_, i) => ({ name: `blk.${i}.weight`, dtype: 'Q8_0' as const, shape: [230_000, 4096] })),
);

let server: Server;
let base: string;
let sent = 0;

beforeAll(async () => {
  server = createServer((request, response) => {
    const url = request.url ?? '';
    if (url.startsWith('/api/models/owner/name/revision/')) json({ _id: '1', id: 'owner/name', sha: COMMIT });
    else if (url.startsWith('/api/models/owner/name/tree/')) {
      json([{ type: 'file', path: 'enormous.gguf', size: layout.byteLength, oid: COMMIT }]);
    } else if (url.includes('/resolve/')) response.writeHead(302, { location: '/enormous.gguf' }).end();
    else sendRange(request.headers.range ?? '');

    function json(value: unknown): void {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    }
    function sendRange(range: string): void {
      const [start, end] = (/(\d+)-(\d+)/.exec(range) ?? []).slice(1).map(Number) as [number, number];
      const bytes = new Uint8Array(end + 1 - start);
      bytes.set(layout.header.subarray(start, end + 1));
      sent += bytes.length;
      response
        .writeHead(206, { 'content-range': `bytes ${start}-${end}/${layout.byteLength}`, etag: '"1"' })
        .end(bytes);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

describe('inspect', () => {
  it('looks into a file of 100 GB on a server by reading its header', async () => {
    expect(layout.byteLength).toBeGreaterThan(HUNDRED_GB);
    sent = 0;
    const { code, stdout } = await halftone('inspect', `${base}/enormous.gguf`, '--json');
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ format: 'gguf', bytes: layout.byteLength, elements: 100 * 230_000 * 4096 });
    expect(report.problem).toContain('enormous');
    // Windows of 256 kB, once as a model and once as a file.
    expect(sent).toBeLessThan(2e6);
  });

  it('does the same by the name of a model on the Hub, without downloading it', async () => {
    sent = 0;
    const before = process.env.HF_ENDPOINT;
    process.env.HF_ENDPOINT = base;
    try {
      const { code, stdout, stderr } = await halftone('inspect', 'hf:owner/name', '--json');
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ format: 'gguf', bytes: layout.byteLength });
    } finally {
      if (before === undefined) delete process.env.HF_ENDPOINT;
      else process.env.HF_ENDPOINT = before;
    }
    expect(sent).toBeLessThan(2e6);
  });
});
