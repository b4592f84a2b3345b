import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHalftoneError } from '@halftone/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createModel, type ModelSource } from '../src/index.js';
import { openModel } from '../src/node.js';
import { writeFloatGguf } from './gguf-file.js';
import { hasShared, needsShared, shared } from './shared-models.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-open-model-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function refusal(path: string): Promise<string> {
  try {
    await openModel(path);
  } catch (error) {
    if (isHalftoneError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'accepted';
}

async function logits(source: ModelSource): Promise<Float32Array> {
  const model = await createModel(source);
  const { data } = await model.forward([5, 70, 300, 4000, 12], { from: 3 });
  await model.dispose();
  await source.close();
  return data;
}

describe.skipIf(!hasShared)(`openModel${needsShared}`, () => {
  it('opens a folder, its weight file, and its index', async () => {
    const expected = await logits(await openModel(shared('models/wren-5m')));
    expect(await logits(await openModel(shared('models/wren-5m/model.safetensors')))).toEqual(expected);
    const sharded = shared('models/bookworm-gpt2-14m');
    const byIndex = await openModel(join(sharded, 'model.safetensors.index.json'));
    expect(byIndex.tokenizer?.tokenizerJson.model).toBeDefined();
    expect(await logits(byIndex)).toEqual(await logits(await openModel(sharded)));
  });

  it.each(['wren-5m', 'bookworm-gpt2-14m'])('gives the same logits for %s as GGUF', async (name) => {
    const source = await openModel(shared(`models/${name}`));
    const path = join(folder, `${name}.gguf`);
    await writeFloatGguf(source, path);
    const fromGguf = await openModel(path);
    expect(fromGguf.checkpoint.format).toBe('gguf');
    expect(fromGguf.weightsTransposed).toBe(false);
    expect(fromGguf.tokenizer).toBeDefined();
    expect(await logits(fromGguf)).toEqual(await logits(source));
  });

  it('opens a llama2.c file with or without a tokenizer beside it', async () => {
    const source = await openModel(shared('models/stories260k/stories260K.bin'));
    expect(source.config).toMatchObject({ architecture: 'llama', vocabSize: 512, bosTokens: [1], eosTokens: [2] });
    expect(source.tokenizer).toBeDefined();
    await source.close();
    const alone = join(folder, 'alone.bin');
    await cp(shared('models/stories260k/stories260K.bin'), alone);
    const bare = await openModel(alone);
    expect(bare.tokenizer).toBeUndefined();
    await bare.close();
    await writeFile(join(folder, 'tok9.bin'), new Uint8Array(9));
    expect(await refusal(alone)).toMatch(/^FORMAT .*tokenizer/);
  });

  it('reads a chat template and goes without a tokenizer', async () => {
    const copy = join(folder, 'copy');
    await mkdir(copy);
    for (const file of ['model.safetensors', 'config.json'])
      await cp(shared(`models/wren-5m/${file}`), join(copy, file));
    const bare = await openModel(copy);
    expect(bare.tokenizer).toBeUndefined();
    await bare.close();
    await cp(shared('models/wren-5m/tokenizer.json'), join(copy, 'tokenizer.json'));
    await writeFile(join(copy, 'chat_template.jinja'), '{{ messages[0].content }}');
    const chatting = await openModel(copy);
    expect(chatting.tokenizer?.chatTemplate).toBe('{{ messages[0].content }}');
    await chatting.close();
    await writeFile(join(copy, 'tokenizer.json'), '{"model":');
    expect(await refusal(copy)).toMatch(/^FORMAT .*tokenizer\.json is not JSON/);
    await rm(join(copy, 'config.json'));
    expect(await refusal(copy)).toMatch(/^IO .*no config\.json/);
  });
});

describe('openModel', () => {
  it('refuses what is not there', async () => {
    expect(await refusal(join(folder, 'nothing'))).toMatch(/^IO/);
  });
});
