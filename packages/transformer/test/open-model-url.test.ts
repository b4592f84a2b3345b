import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeSafetensorsShards } from '@halftone/formats';
import { fileSink } from '@halftone/formats/node';
import { isHalftoneError, type LazyTensor, type TensorEntry } from '@halftone/tensor';
import { modelUrl } from '@halftone/wren-5m';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createModel, type ModelSource, type OpenModelUrlOptions, openModelUrl } from '../src/index.js';
import { openModel } from '../src/node.js';
import { type FileServer, serveFiles } from './file-server.js';
import { writeFloatGguf } from './gguf-file.js';
import { TINY, tinySource } from './tiny-models.js';

const files = new Map<string, Uint8Array>();
let server: FileServer;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-url-'));
  server = await serveFiles(files);
  for (const name of ['config.json', 'model.safetensors', 'tokenizer.json'])
    files.set(`/wren/${name}`, await readFile(new URL(name, modelUrl)));
  const { source } = tinySource(TINY.llama);
  await writeFloatGguf(source, join(folder, 'tiny.gguf'));
  files.set('/tiny.gguf', await readFile(join(folder, 'tiny.gguf')));
  await addShards(source);
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

/** The model in three shards with an index. */
async function addShards({ checkpoint, configJson }: ModelSource): Promise<void> {
  const entries: TensorEntry[] = [...checkpoint.tensors.values()].map(({ name, shape }) => ({
    name,
    shape,
    dtype: 'f32',
  }));
  const read = async (name: string) => (await (checkpoint.tensors.get(name) as LazyTensor).read()).bytes;
  const written: string[] = [];
  await writeSafetensorsShards(entries, {
    maxShardBytes: 20_000,
    createSink: (name, expectedBytes) => {
      written.push(name);
      return fileSink(join(folder, name), { expectedBytes });
    },
    data: ({ name }) =>
      (async function* () {
        yield await read(name);
      })(),
  });
  expect(written.length).toBeGreaterThan(2);
  for (const name of written) files.set(`/shards/${name}`, await readFile(join(folder, name)));
  files.set('/shards/config.json', new TextEncoder().encode(JSON.stringify(configJson)));
}

async function refusal(path: string, options: OpenModelUrlOptions = {}): Promise<string> {
  try {
    await openModelUrl(server.url + path, { retries: 0, ...options });
  } catch (error) {
    if (isHalftoneError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'accepted';
}

async function logits(source: ModelSource): Promise<Float32Array> {
  const model = await createModel(source);
  const { data } = await model.forward([5, 7, 3, 40, 12]);
  await model.dispose();
  await source.close();
  return data;
}

describe('openModelUrl', () => {
  it('opens a folder in the Hugging Face layout and its weight file, without reading weights', async () => {
    const expected = await openModel(fileURLToPath(modelUrl));
    server.requests.length = 0;
    const source = await openModelUrl(`${server.url}wren/`);
    expect(source.config).toEqual(expected.config);
    expect(source.tokenizer).toEqual(expected.tokenizer);
    const weightBytes = server.requests.filter(({ path }) => path.endsWith('.safetensors'));
    expect(weightBytes.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(100_000);
    const byFile = await openModelUrl(new URL('wren/model.safetensors', server.url));
    expect(byFile.checkpoint.tensors.size).toBe(source.checkpoint.tensors.size);
    expect(await logits(source)).toEqual(await logits(expected));
  });

  it('opens shards by their folder and by their index', async () => {
    const expected = await logits(tinySource(TINY.llama).source);
    for (const path of ['shards/', 'shards/model.safetensors.index.json'])
      expect(await logits(await openModelUrl(server.url + path))).toEqual(expected);
  });

  it('opens a GGUF file and sends the query of its address along', async () => {
    const expected = await logits(tinySource(TINY.llama).source);
    server.requests.length = 0;
    const source = await openModelUrl(`${server.url}tiny.gguf?signature=secret`);
    expect(source.checkpoint.format).toBe('gguf');
    expect(await logits(source)).toEqual(expected);
    expect(new Set(server.requests.map(({ path }) => path))).toEqual(new Set(['/tiny.gguf?signature=secret']));
    await (await openModelUrl(`${server.url}wren/model.safetensors?key=1`)).close();
    expect(server.requests.map(({ path }) => path)).toContain('/wren/config.json?key=1');
  });

  it('sends headers with every request and uses the given fetch', async () => {
    const seen: (string | null)[] = [];
    const fetchAndNote: typeof fetch = (input, init) => {
      seen.push(new Headers(init?.headers).get('authorization'));
      return fetch(input, init);
    };
    const headers = { authorization: 'Bearer x' };
    await (await openModelUrl(`${server.url}wren/`, { fetch: fetchAndNote, headers })).close();
    expect(seen.length).toBeGreaterThan(5);
    expect(new Set(seen)).toEqual(new Set(['Bearer x']));
  });

  it('names what is not there, and no query', async () => {
    expect(await refusal('nothing.gguf?signature=secret')).toMatch(/^IO .*http:[^?]*\/nothing\.gguf: .*404/);
    expect(await refusal('nothing/')).toMatch(/^IO .*http:.*\/nothing\/model\.safetensors: .*404/);
    expect(await refusal('nothing/model.safetensors.index.json')).toMatch(/^IO .*http:.*index\.json is not there/);
    files.set('/bare/model.safetensors', files.get('/wren/model.safetensors') as Uint8Array);
    expect(await refusal('bare/')).toMatch(/^IO .*http:.*\/bare\/ has no config\.json/);
  });

  it('refuses other addresses, files that are no JSON, and servers that fail', async () => {
    expect(await refusal('wren')).toMatch(/^UNSUPPORTED .*ends in \.gguf/);
    await expect(openModelUrl('model.gguf')).rejects.toThrow('"model.gguf" is not an absolute URL');
    files.set('/damaged/model.safetensors', files.get('/wren/model.safetensors') as Uint8Array);
    files.set('/damaged/config.json', new TextEncoder().encode('{'));
    expect(await refusal('damaged/')).toMatch(/^FORMAT .*\/damaged\/config\.json is not JSON/);
    files.set('/damaged/config.json', new Uint8Array(10_000_001));
    expect(await refusal('damaged/')).toMatch(/^FORMAT .*config\.json has more than the 10000000 bytes/);
    const failing: typeof fetch = async () => new Response('', { status: 500 });
    expect(await refusal('wren/', { fetch: failing })).toMatch(/^IO .* 500/);
    const broken: typeof fetch = () => Promise.reject(new TypeError('no network'));
    expect(await refusal('wren/', { fetch: broken })).toMatch(/^IO .*connection failed/);
  });

  it('stops when aborted, before and between requests', async () => {
    expect(await refusal('wren/', { signal: AbortSignal.abort() })).toMatch(/^ABORTED/);
    const controller = new AbortController();
    const aborting: typeof fetch = (input, init) => {
      if (String(input).includes('tokenizer.json')) controller.abort();
      return fetch(input, init);
    };
    expect(await refusal('wren/', { fetch: aborting, signal: controller.signal })).toMatch(/^ABORTED/);
  });
});
