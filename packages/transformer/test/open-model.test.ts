import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isHalftoneError } from '@halftone/tensor';
import { modelUrl } from '@halftone/wren-5m';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createModel, generate, type ModelSource } from '../src/index.js';
import { openModel } from '../src/node.js';
import { writeFloatGguf } from './gguf-file.js';
import { hasShared, needsShared, shared } from './shared-models.js';
import { worstDifference } from './worst-difference.js';

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
    // GGUF stores the epsilon of norms in float32, so that a normalised value may differ in its last bit.
    expect(worstDifference(await logits(fromGguf), await logits(source))).toBeLessThan(1e-5);
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
  it('takes the end tokens of generation_config.json, and those of config.json where it has none', async () => {
    const copy = join(folder, 'endings');
    await cp(fileURLToPath(modelUrl), copy, { recursive: true });
    const write = (value: unknown) => writeFile(join(copy, 'generation_config.json'), JSON.stringify(value));
    const endTokens = async () => {
      const source = await openModel(copy);
      await source.close();
      return source.config.eosTokens;
    };
    expect(await endTokens()).toEqual([0]);
    await write({ eos_token_id: [7, 300, 999_999] });
    expect(await endTokens()).toEqual([7, 300]);
    await write({ eos_token_id: 9 });
    expect(await endTokens()).toEqual([9]);
    await write({ temperature: 0.5 });
    expect(await endTokens()).toEqual([0]);
    await write({ eos_token_id: ['</s>'] });
    expect(await refusal(copy)).toMatch(/^FORMAT .*generation_config\.json: eos_token_id/);
    await write({ eos_token_id: new Array(1025).fill(1) });
    expect(await refusal(copy)).toMatch(/^FORMAT .*generation_config\.json: .*at most 1024/);
    await write([1]);
    expect(await refusal(copy)).toMatch(/^FORMAT .*generation_config\.json does not hold a JSON object/);
  });

  it('stops generation at them', async () => {
    const copy = join(folder, 'stopping');
    await cp(fileURLToPath(modelUrl), copy, { recursive: true });
    const generated = async () => {
      const source = await openModel(copy);
      const model = await createModel(source);
      const tokens: number[] = [];
      for await (const { token, finishReason } of generate(model, [5, 70], {
        sampling: { temperature: 0 },
        maxTokens: 4,
      }))
        tokens.push(token, ...(finishReason === 'end' ? [-1] : []));
      await model.dispose();
      await source.close();
      return tokens;
    };
    const plain = await generated();
    const last = plain.find((token, i) => i > 0 && !plain.slice(0, i).includes(token)) ?? plain[0];
    await writeFile(join(copy, 'generation_config.json'), JSON.stringify({ eos_token_id: [last] }));
    expect(await generated()).toEqual([...plain.slice(0, plain.indexOf(last) + 1), -1]);
  });

  it('refuses what is not there', async () => {
    expect(await refusal(join(folder, 'nothing'))).toMatch(/^IO/);
  });
});
