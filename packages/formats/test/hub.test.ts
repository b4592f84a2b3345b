import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { downloadModel, parseHubName } from '../src/hub.js';
import { expectFailure, fillBytes } from './support/files.js';
import { COMMIT, type HubServer, hubServer } from './support/hub-server.js';

const MODEL = { repo: 'owner/name', revision: 'main' };
const config = new TextEncoder().encode('{"model_type":"llama"}');
const weights = fillBytes('weights', 20_000);

describe('parseHubName', () => {
  it('reads names, revisions and files', () => {
    expect(parseHubName('hf:owner/name')).toEqual(MODEL);
    expect(parseHubName('hf:o.w/n-1@v1.0')).toEqual({ repo: 'o.w/n-1', revision: 'v1.0' });
    expect(parseHubName('hf:o/n@refs%2Fpr%2F1/sub/a.gguf')).toEqual({
      repo: 'o/n',
      revision: 'refs/pr/1',
      path: 'sub/a.gguf',
    });
  });

  it.each([
    'hf:',
    'hf:owner',
    'owner/name',
    'hf:o/n@',
    'hf:o/n/../x',
    'hf:o/n/',
    'hf:o/n/a//b',
    'hf:o o/n',
    'hf:o/n@%zz',
  ])('refuses %s', async (name) => expectFailure(async () => parseHubName(name), 'FORMAT', 'hf:owner/name'));
});

describe('downloadModel', () => {
  let cacheDir: string;
  let hub: HubServer;
  const start = async (files: Record<string, Uint8Array>) => {
    hub = await hubServer(files);
  };
  const download = (model: Partial<typeof MODEL & { path: string }> = {}, more = {}) =>
    downloadModel({ ...MODEL, ...model }, { hubUrl: hub.url, cacheDir, retryDelay: 1, ...more });
  const blobs = async () => readdir(join(cacheDir, 'models--owner--name', 'blobs'));

  beforeEach(async () => {
    cacheDir = await mkdtemp(join(tmpdir(), 'halftone-hub-'));
  });
  afterEach(async () => {
    await hub.close();
    await rm(cacheDir, { recursive: true });
  });

  const files = {
    'config.json': config,
    'README.md': fillBytes('readme', 100),
    'tokenizer.json': fillBytes('tokenizer', 1500),
    'model.safetensors': weights,
    'consolidated.safetensors': weights.slice(1),
    'onnx/model.onnx': fillBytes('onnx', 3000),
    'generation_config.json': new Uint8Array(0),
  };

  it('puts what a model needs where all Hugging Face libraries look, through redirects', async () => {
    await start(files);
    const folder = await download({}, { accessToken: 'hf_secret' });
    expect(folder).toBe(join(cacheDir, 'models--owner--name', 'snapshots', COMMIT));
    expect((await readdir(folder)).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    expect(new Uint8Array(await readFile(join(folder, 'model.safetensors')))).toEqual(weights);
    expect(await readFile(join(cacheDir, 'models--owner--name', 'refs', 'main'), 'utf8')).toBe(COMMIT);
    expect((await blobs()).every((name) => /^[0-9a-f]{40}$|^[0-9a-f]{64}$/.test(name))).toBe(true);
  });

  it('asks for no file again, and works without a network once it has the model', async () => {
    await start(files);
    const folder = await download();
    const before = hub.requests.length;
    expect(await download()).toBe(folder);
    expect(hub.requests.slice(before).some((request) => request.includes('/resolve/'))).toBe(false);
    await hub.close();
    expect(await download({}, { retries: 0 })).toBe(folder);
    await start(files);
  });

  it('goes on where an interrupted download stopped', async () => {
    await start(files);
    const hash = createHash('sha256').update(weights).digest('hex');
    const folder = join(cacheDir, 'models--owner--name', 'blobs');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `${hash}.incomplete`), weights.subarray(0, 12_345));
    const path = await download({ path: 'model.safetensors' });
    expect(new Uint8Array(await readFile(path))).toEqual(weights);
    const ranges = hub.requests.filter((request) => request.startsWith('/cdn/'));
    expect(ranges.at(-1)).toContain('bytes=12345-19999');
    expect(await blobs()).toEqual([hash]);
  });

  it('drops an interrupted download whose bytes are of something else', async () => {
    await start(files);
    const hash = createHash('sha256').update(weights).digest('hex');
    const folder = join(cacheDir, 'models--owner--name', 'blobs');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `${hash}.incomplete`), new Uint8Array(500));
    await expectFailure(() => download({ path: 'model.safetensors' }), 'IO', 'model.safetensors', hash);
    expect(await blobs()).toEqual([]);
    const path = await download({ path: 'model.safetensors' });
    expect((await stat(path)).size).toBe(weights.length);
  });

  it('waits and asks again after 429, 503, and bodies that end early', async () => {
    await start(files);
    let count = 0;
    hub.intercept = (request, response) => {
      count++;
      if (count % 4 === 1) response.writeHead(429, { 'retry-after': '0' }).end();
      else if (count % 4 === 2) response.writeHead(503).end();
      else if (count % 4 === 3 && request.url?.startsWith('/cdn/') && !request.headers.range?.startsWith('bytes=0-0')) {
        response.writeHead(206, { 'content-range': `bytes 0-1499/1500`, 'content-length': '1500' });
        response.write(new Uint8Array(10));
        response.destroy();
      } else return false;
      return true;
    };
    const path = await download({ path: 'tokenizer.json' }, { retries: 8 });
    expect(new Uint8Array(await readFile(path))).toEqual(files['tokenizer.json']);
    expect(count).toBeGreaterThan(8);
  });

  it('gives up with the status after the retries', async () => {
    await start(files);
    hub.intercept = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    await expectFailure(() => download({}, { retries: 1 }), 'IO', '503');
  });

  it('refuses sizes that are not what the Hub lists', async () => {
    await start(files);
    hub.intercept = (request, response) => {
      if (!request.url?.startsWith('/cdn/')) return false;
      response.writeHead(206, { 'content-range': 'bytes 0-0/77' }).end(new Uint8Array(1));
      return true;
    };
    await expectFailure(() => download({ path: 'tokenizer.json' }), 'IO', '77', '1500');
    const snapshot = join(cacheDir, 'models--owner--name', 'snapshots', COMMIT);
    expect(await readdir(snapshot).catch(() => [])).toEqual([]);
  });

  it('refuses paths that leave the cache and listings that are no listings', async () => {
    await start({ '../../evil.json': config });
    await expectFailure(() => download(), 'FORMAT', 'evil');
    hub.intercept = (request, response) => {
      if (!request.url?.includes('/revision/')) return false;
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"owner/name","sha":"../x"}');
      return true;
    };
    await expectFailure(() => download(), 'FORMAT', 'commit');
  });

  it.each([
    [401, 'HF_TOKEN'],
    [404, 'revision'],
  ])('explains status %i', async (status, word) => {
    await start(files);
    hub.intercept = (_request, response) => {
      response.writeHead(status).end();
      return true;
    };
    await expectFailure(() => download(), 'IO', word);
  });

  it('takes the only GGUF model, all parts of a split one, and asks for a name among several', async () => {
    const part = (index: number) => `model-0000${index}-of-00002.gguf`;
    await start({ [part(1)]: weights, [part(2)]: weights.slice(5), 'README.md': config });
    const folder = await download();
    expect((await readdir(folder)).sort()).toEqual([part(1), part(2)]);
    await hub.close();
    await start({ 'a.gguf': weights, 'b.gguf': weights.slice(3) });
    await expectFailure(() => download(), 'IO', 'hf:owner/name/a.gguf');
    expect(await download({ path: 'b.gguf' })).toMatch(/b\.gguf$/);
    await expectFailure(() => download({ path: 'c.gguf' }), 'IO', 'c.gguf');
  });

  it('stops when the signal fires, and keeps what it has', async () => {
    await start(files);
    await expectFailure(() => download({}, { signal: AbortSignal.abort() }), 'ABORTED');
  });
});
