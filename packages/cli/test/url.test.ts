import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { modelUrl } from '@halftone/wren-5m';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { halftone } from './halftone.js';

const files = new Map<string, Uint8Array>();
let server: Server;
let base: string;

beforeAll(async () => {
  for (const name of ['config.json', 'model.safetensors', 'tokenizer.json'])
    files.set(`/wren/${name}`, await readFile(new URL(name, modelUrl)));
  files.set('/weights.safetensors', files.get('/wren/model.safetensors') as Uint8Array);
  server = createServer((request, response) => {
    const file = files.get((request.url ?? '').replace(/\?.*/, ''));
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (file === undefined) response.writeHead(404).end();
    else if (range === null) response.end(file);
    else {
      const [start, end] = [Number(range[1]), Number(range[2]) + 1];
      response.writeHead(206, { 'content-range': `bytes ${start}-${end - 1}/${file.length}` });
      response.end(file.subarray(start, end));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

describe('models by URL', () => {
  it('inspects a model folder, and a weight file that is not a model', async () => {
    const local = JSON.parse((await halftone('inspect', 'wren', '--json')).stdout);
    const remote = JSON.parse((await halftone('inspect', `${base}/wren/`, '--json')).stdout);
    expect(remote).toEqual({ ...local, model: `${base}/wren/` });
    const { code, stdout } = await halftone('inspect', `${base}/weights.safetensors?key=1`);
    expect(code).toBe(0);
    expect(stdout).toMatch(/not runnable +.*config\.json/);
    expect(stdout).toMatch(/weights +5,245,184 in 38 tensors/);
  });

  it('generates the same text as the local model', async () => {
    const args = ['--prompt', 'The captain', '--max-tokens', '4', '--seed', '3', '--json'];
    const local = await halftone('generate', 'wren', ...args);
    const remote = await halftone('generate', `${base}/wren/model.safetensors`, ...args);
    expect(remote.code).toBe(0);
    expect(JSON.parse(remote.stdout).text).toBe(JSON.parse(local.stdout).text);
  });

  it('names the URL that is not there', async () => {
    const { code, stderr } = await halftone('inspect', `${base}/nowhere.gguf`);
    expect(code).toBe(1);
    expect(stderr).toContain(`${base}/nowhere.gguf`);
    expect(stderr).toContain('404');
  });
});
