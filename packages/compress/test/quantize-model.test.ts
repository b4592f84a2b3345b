import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceBackend } from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { outputFile, outputFolder } from '../src/file-output.js';
import { memoryOutput } from '../src/output.js';
import { quantizeModel } from '../src/quantize-model.js';
import { parseRecipe } from '../src/recipes.js';
import { safetensorsOutput } from '../src/safetensors-output.js';
import { tinyModel } from './tiny-model.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-compress-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function bytesOf(recipe: string, chunkElements?: number): Promise<Uint8Array> {
  const output = memoryOutput();
  await quantizeModel(tinyModel(), { recipe: parseRecipe(recipe), output, chunkElements });
  return output.files[0];
}

describe('quantizeModel', () => {
  it('gives the same bytes whatever the size of a row range', async () => {
    const whole = await bytesOf('Q4_K_M', 2 ** 22);
    expect(Buffer.compare(await bytesOf('Q4_K_M', 1000), whole)).toBe(0);
  });

  it('reports bytes that add up, and errors that fall with more bits', async () => {
    const output = memoryOutput();
    const q8 = await quantizeModel(tinyModel(), { recipe: parseRecipe('Q8_0'), output });
    const q4 = await quantizeModel(tinyModel(), { recipe: parseRecipe('Q4_0'), output: memoryOutput() });
    expect(q8.bytes).toBe(output.files[0].byteLength);
    expect(q8.layers.reduce((sum, layer) => sum + layer.bytes, 0)).toBeLessThan(q8.bytes);
    expect(q4.bytes).toBeLessThan(q8.bytes);
    const down = (report: typeof q8) => report.layers.find(({ name }) => name.endsWith('0.mlp.down_proj.weight'));
    expect(down(q8)?.relativeError).toBeLessThan(down(q4)?.relativeError as number);
    expect(down(q8)).toMatchObject({ role: 'mlp.down', block: 0, storage: 'Q8_0', bitsPerWeight: 8.5 });
  });

  it('resumes after an abort and ends with the bytes of an uninterrupted run', async () => {
    const whole = await bytesOf('Q4_K_M');
    const path = join(folder, 'model.gguf');
    const abort = new AbortController();
    const options = { syncBytes: 0, syncMilliseconds: 0 };
    const first = quantizeModel(tinyModel(), {
      recipe: parseRecipe('Q4_K_M'),
      output: outputFile(path, options),
      signal: abort.signal,
      onProgress: ({ done }) => {
        if (done === 7) abort.abort();
      },
    });
    await expect(first).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await readdir(folder)).not.toContain('model.gguf');
    const report = await quantizeModel(tinyModel(), {
      recipe: parseRecipe('Q4_K_M'),
      output: outputFile(path, options),
    });
    expect(report.resumed).toBe(7);
    expect(Buffer.compare(await readFile(path), whole)).toBe(0);
    expect(await readdir(folder)).toEqual(['model.gguf']);
  });

  it('does not resume when the weights are others', async () => {
    const path = join(folder, 'model.gguf');
    const abort = new AbortController();
    const run = (source: ReturnType<typeof tinyModel>, signal?: AbortSignal) =>
      quantizeModel(source, {
        recipe: parseRecipe('Q8_0'),
        output: outputFile(path, { syncBytes: 0 }),
        signal,
        onProgress: ({ done }) => {
          if (done === 3) abort.abort();
        },
      });
    await expect(run(tinyModel(), abort.signal)).rejects.toMatchObject({ code: 'ABORTED' });
    const other = tinyModel((_name, values) => {
      values[0] = 0.5;
    });
    expect((await run(other)).resumed).toBe(0);
  });

  it('names the weight that is not a number, and leaves no file', async () => {
    const damaged = tinyModel((name, values) => {
      if (name === 'model.layers.1.mlp.up_proj.weight') values[256 * 3 + 5] = Number.NaN;
    });
    const run = quantizeModel(damaged, { recipe: parseRecipe('Q4_0'), output: outputFile(join(folder, 'x.gguf')) });
    await expect(run).rejects.toMatchObject({ code: 'NUMERIC' });
    await expect(run).rejects.toThrow(/model\.layers\.1\.mlp\.up_proj\.weight: the weight at row 3, column 5 is NaN/);
    expect(await readdir(folder)).toEqual([]);
  });

  it('weighs errors by the calibration text when the recipe asks for it', async () => {
    const sequences = [Int32Array.from({ length: 64 }, (_, i) => (i * 37) % 8192)];
    const recipe = parseRecipe('Q3_K_M', { importance: true });
    await expect(quantizeModel(tinyModel(), { recipe, output: memoryOutput() })).rejects.toThrow(/calibration text/);
    const calibrated = memoryOutput();
    const report = await quantizeModel(tinyModel(), {
      recipe,
      output: calibrated,
      calibration: { sequences, backend: referenceBackend() },
    });
    const plain = await quantizeModel(tinyModel(), { recipe: parseRecipe('Q3_K_M'), output: memoryOutput() });
    const gate = (layers: typeof report.layers) => layers.find(({ name }) => name.endsWith('1.mlp.gate_proj.weight'));
    expect(gate(report.layers)?.weightedRelativeError).toBeGreaterThan(0);
    expect(gate(report.layers)?.weightedRelativeError).toBeLessThan(gate(plain.layers)?.relativeError as number);
  });

  it('writes a folder in the Hugging Face layout that reads back exactly', async () => {
    const path = join(folder, 'model');
    const report = await quantizeModel(tinyModel(), {
      recipe: parseRecipe('F32'),
      format: safetensorsOutput,
      output: outputFolder(path),
    });
    expect(report.layers.every(({ relativeError }) => relativeError === 0)).toBe(true);
    const back = await openModel(path);
    expect((await readdir(path)).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json']);
    const name = 'model.layers.1.self_attn.k_proj.weight';
    const read = await back.checkpoint.tensors.get(name)?.read();
    const original = await tinyModel().checkpoint.tensors.get(name)?.read();
    expect(Buffer.compare(read?.bytes as Uint8Array, original?.bytes as Uint8Array)).toBe(0);
    await back.close();
  });

  it('refuses block formats in safetensors with the way out', async () => {
    const run = quantizeModel(tinyModel(), {
      recipe: parseRecipe('Q4_0'),
      format: safetensorsOutput,
      output: outputFolder(join(folder, 'model')),
    });
    await expect(run).rejects.toThrow(/write a \.gguf file/);
    expect(await readdir(folder)).toEqual([]);
  });
});
