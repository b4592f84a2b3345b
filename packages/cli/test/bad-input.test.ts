/** Every kind of damaged model, through the command line: exit code 1, the thing is named, nothing is left behind. */
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { modelUrl } from '@halftone/wren-5m';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { halftone } from './halftone.js';

interface Header {
  [name: string]: { dtype: string; shape: number[]; data_offsets: [number, number] };
}

const DOWN = 'model.layers.2.mlp.down_proj.weight';
let folder: string;
let weights: Buffer;
let gguf: Buffer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-bad-'));
  weights = await readFile(new URL('model.safetensors', modelUrl));
  const path = join(folder, 'good.gguf');
  await halftone('convert', 'wren', '--out', path);
  gguf = await readFile(path);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A folder like wren's, with some files replaced. */
async function damagedFolder(name: string, files: Record<string, string | Uint8Array>): Promise<string> {
  const path = join(folder, name);
  await mkdir(path);
  for (const file of ['config.json', 'tokenizer.json', 'model.safetensors']) {
    if (files[file] === undefined) await copyFile(fileURLToPath(new URL(file, modelUrl)), join(path, file));
    else await writeFile(join(path, file), files[file]);
  }
  return path;
}

async function damagedFile(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

async function expectRefusal(model: string, message: RegExp): Promise<void> {
  const before = (await readdir(folder)).sort();
  const memory = process.memoryUsage().arrayBuffers;
  const { code, stderr } = await halftone('quantize', model, '--recipe', 'Q8_0', '--out', join(folder, 'never.gguf'));
  expect(stderr).toMatch(message);
  expect(stderr).not.toContain('bug in halftone');
  expect(code).toBe(1);
  expect((await readdir(folder)).sort()).toEqual(before);
  expect(process.memoryUsage().arrayBuffers - memory).toBeLessThan(200e6);
}

function editHeader(edit: (header: Header) => void): Buffer {
  const length = Number(weights.readBigUInt64LE(0));
  const header = JSON.parse(weights.toString('utf8', 8, 8 + length)) as Header;
  edit(header);
  const text = Buffer.from(JSON.stringify(header).padEnd(length));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, weights.subarray(8 + length)]);
}

function withBigUint64(bytes: Buffer, offset: number, value: bigint): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeBigUInt64LE(value, offset);
  return copy;
}

async function config(change: Record<string, unknown>): Promise<string> {
  return JSON.stringify({ ...JSON.parse(await readFile(new URL('config.json', modelUrl), 'utf8')), ...change });
}

describe('safetensors', () => {
  it('truncated', async () => {
    const model = await damagedFolder('truncated', { 'model.safetensors': weights.subarray(0, 4_000_000) });
    await expectRefusal(model, /\[safetensors\].*(truncated|bytes)/);
  });

  it('wrong magic', async () => {
    const model = await damagedFolder('magic', { 'model.safetensors': Buffer.from('this is no weight file at all') });
    await expectRefusal(model, /model\.safetensors/);
  });

  it('header longer than the file', async () => {
    const model = await damagedFolder('long-header', { 'model.safetensors': withBigUint64(weights, 0, 2n ** 40n) });
    await expectRefusal(model, /header/);
  });

  it('overlapping tensors', async () => {
    const bytes = editHeader((header) => {
      const [begin, end] = header[DOWN].data_offsets;
      header[DOWN].data_offsets = [begin - 2, end - 2];
    });
    await expectRefusal(await damagedFolder('overlap', { 'model.safetensors': bytes }), /model\.layers\.2\.\S*|offset/);
  });

  it('shape product beyond all bounds', async () => {
    const bytes = editHeader((header) => {
      header[DOWN].shape = [2 ** 40, 2 ** 40];
    });
    await expectRefusal(
      await damagedFolder('overflow', { 'model.safetensors': bytes }),
      /model\.layers\.2\.mlp\.down_proj/,
    );
  });

  it('NaN weights', async () => {
    const bytes = Buffer.from(weights);
    const length = Number(weights.readBigUInt64LE(0));
    const header = JSON.parse(weights.toString('utf8', 8, 8 + length)) as Header;
    bytes.writeUInt16LE(0x7fc0, 8 + length + header[DOWN].data_offsets[0] + 2 * (768 * 3 + 5));
    const model = await damagedFolder('nan', { 'model.safetensors': bytes });
    await expectRefusal(model, /model\.layers\.2\.mlp\.down_proj\.weight: the weight at row 3, column 5 is NaN/);
  });

  it('missing tensors', async () => {
    const bytes = editHeader((header) => {
      header['model.layers.2.mlp.elsewhere.weight'] = header[DOWN];
      delete header[DOWN];
    });
    await expectRefusal(
      await damagedFolder('missing', { 'model.safetensors': bytes }),
      /model\.layers\.2\.mlp\.down_proj/,
    );
  });
});

describe('config and tokenizer', () => {
  it('unknown architecture', async () => {
    const model = await damagedFolder('mamba', {
      'config.json': await config({ model_type: 'mamba', architectures: ['MambaForCausalLM'] }),
    });
    await expectRefusal(model, /mamba.*llama/i);
  });

  it('absurd counts', async () => {
    const model = await damagedFolder('absurd', { 'config.json': await config({ num_hidden_layers: 1e12 }) });
    await expectRefusal(model, /num_hidden_layers/);
  });

  it('sizes that do not fit the weights', async () => {
    const model = await damagedFolder('sizes', { 'config.json': await config({ intermediate_size: 800 }) });
    await expectRefusal(model, /mlp\.(gate|up|down)_proj/);
  });

  it('a tokenizer of another size', async () => {
    const tokenizer = JSON.parse(await readFile(new URL('tokenizer.json', modelUrl), 'utf8'));
    tokenizer.model.vocab['one token too many'] = 8192;
    const model = await damagedFolder('tokenizer', { 'tokenizer.json': JSON.stringify(tokenizer) });
    await expectRefusal(model, /8193|8192/);
  });

  it('JSON that does not parse', async () => {
    await expectRefusal(await damagedFolder('json', { 'config.json': '{"model_type": ' }), /config\.json/);
  });
});

describe('GGUF', () => {
  const TENSOR_COUNT = 8;
  const METADATA_COUNT = 16;

  it.each([
    ['truncated in the header', () => gguf.subarray(0, 5_000)],
    ['truncated in the weights', () => gguf.subarray(0, 9_000_000)],
    ['wrong magic', () => Buffer.concat([Buffer.from('FUGG'), gguf.subarray(4)])],
    ['of a future version', () => Buffer.concat([gguf.subarray(0, 4), Buffer.from([9, 0, 0, 0]), gguf.subarray(8)])],
    ['with an absurd count of tensors', () => withBigUint64(gguf, TENSOR_COUNT, 2n ** 60n)],
    ['with an absurd count of keys', () => withBigUint64(gguf, METADATA_COUNT, 2n ** 62n)],
    ['with a negative count', () => withBigUint64(gguf, TENSOR_COUNT, 2n ** 64n - 1n)],
  ])('%s', async (name, damage) => {
    const model = await damagedFile(`${name.replaceAll(' ', '-')}.gguf`, damage());
    await expectRefusal(model, /^error \[/m);
  });
});
