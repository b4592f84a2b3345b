import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { heldoutTextUrl } from '@halftone/wren-5m';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { halftone } from './halftone.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-cli-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('help and usage', () => {
  it('explains itself, each command with examples', async () => {
    const { code, stdout } = await halftone('--help');
    expect(code).toBe(0);
    for (const command of ['inspect', 'convert', 'quantize', 'eval', 'generate']) {
      expect(stdout).toContain(command);
      const help = await halftone(command, '--help');
      expect(help.code).toBe(0);
      expect(help.stdout).toMatch(/Examples:\n {2}halftone /);
      expect(help.stdout).toContain('--json');
    }
  });

  it.each([
    [[]],
    [['dance']],
    [['eval', 'wren']],
    [['quantize', 'wren', '--recipe', 'Q4_0']],
    [['eval', 'wren', '--text', 'x', '--window', 'many']],
    [['generate', 'wren', '--prompt', 'x', '--top-p', '2']],
  ])('exits with 2 for wrong usage: %j', async (argv) => {
    const { code, stderr } = await halftone(...argv);
    expect(code).toBe(2);
    expect(stderr).not.toBe('');
  });
});

describe('inspect', () => {
  it('shows architecture, types and bits', async () => {
    const { code, stdout } = await halftone('inspect', 'wren', '--tensors');
    expect(code).toBe(0);
    expect(stdout).toMatch(/architecture +llama/);
    expect(stdout).toMatch(/weights +5,245,184 in 38 tensors, 16\.000 bits each/);
    expect(stdout).toContain('model.layers.3.mlp.down_proj.weight');
  });

  it('prints one JSON object and nothing else', async () => {
    const { stdout } = await halftone('inspect', 'wren', '--json');
    const parsed = JSON.parse(stdout);
    expect(parsed).toMatchObject({
      format: 'safetensors',
      elements: 5_245_184,
      description: { architecture: 'llama' },
    });
    expect(parsed.tensors).toHaveLength(38);
  });
});

describe('quantize, inspect, eval, generate', () => {
  it('makes a file, judges it, and writes with it', async () => {
    const out = join(folder, 'wren-q8.gguf');
    const text = join(folder, 'text.txt');
    await writeFile(text, (await readFile(fileURLToPath(heldoutTextUrl), 'utf8')).slice(0, 4000));
    const made = JSON.parse((await halftone('quantize', 'wren', '--recipe', 'Q8_0', '--out', out, '--json')).stdout);
    expect(made).toMatchObject({ recipe: 'Q8_0', out, resumed: 0 });
    expect(made.bytes).toBe((await readFile(out)).byteLength);
    expect(made.layers).toHaveLength(38);
    expect(made.peakRssBytes).toBeGreaterThan(1e6);

    const args = ['--text', text, '--window', '128', '--max-windows', '2'];
    const judged = JSON.parse((await halftone('eval', out, '--baseline', 'wren', ...args, '--json')).stdout);
    expect(judged).toMatchObject({ windows: 2, scoredTokens: 254, protocol: { name: 'disjoint', window: 128 } });
    expect(judged.perplexity).toBeCloseTo(Math.exp(judged.meanNll), 9);
    expect(judged.kl.mean).toBeGreaterThan(0);
    expect(judged.kl.mean).toBeLessThan(0.01);
    expect(judged.sameTop1).toBeGreaterThan(0.9);
    expect(judged.bytes).toBe(made.bytes);

    const written = ['generate', out, '--prompt', 'The captain', '--max-tokens', '8', '--seed', '3'];
    const first = JSON.parse((await halftone(...written, '--json')).stdout);
    expect(first.tokens).toHaveLength(8);
    expect(JSON.parse((await halftone(...written, '--json')).stdout).text).toBe(first.text);
    expect((await halftone(...written)).stdout.trimEnd()).toBe(`The captain${first.text}`.trimEnd());
  }, 120_000);

  it('converts to another container and back without changing a weight', async () => {
    const gguf = join(folder, 'wren-bf16.gguf');
    const back = join(folder, 'wren-back');
    expect((await halftone('convert', 'wren', '--out', gguf)).code).toBe(0);
    expect((await halftone('convert', gguf, '--out', back)).code).toBe(0);
    const report = await halftone('convert', back, '--out', join(folder, 'again.gguf'));
    expect(report.stdout).toContain('every weight is exact');
    const [first, second] = [await readFile(gguf), await readFile(join(folder, 'again.gguf'))];
    // The general.name differs, so that compare the weights at the end alone.
    expect(Buffer.compare(first.subarray(-9_000_000), second.subarray(-9_000_000))).toBe(0);
  }, 60_000);
});

describe('failures', () => {
  it.each([
    ['a missing file', ['inspect', 'nowhere.gguf'], /nowhere\.gguf/],
    ['an unknown recipe', ['quantize', 'wren', '--recipe', 'Q9', '--out', 'x.gguf'], /Q4_K_M/],
    ['a hub name', ['inspect', 'hf:model'], /hf:model/],
    ['a missing text', ['eval', 'wren', '--text', 'nowhere.txt'], /nowhere\.txt/],
  ])('exits with 1 and names the thing: %s', async (_what, argv, message) => {
    const { code, stderr } = await halftone(...argv);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('bug in halftone');
  });

  it('leaves no output for a damaged model, and prints the error as JSON when asked', async () => {
    const damaged = join(folder, 'damaged.gguf');
    await halftone('convert', 'wren', '--out', damaged);
    await writeFile(damaged, (await readFile(damaged)).subarray(0, 5_000_000));
    const out = join(folder, 'never.gguf');
    const { code, stdout } = await halftone('quantize', damaged, '--recipe', 'Q8_0', '--out', out, '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout).error.code).toBe('FORMAT');
    expect((await readdir(folder)).filter((name) => name.startsWith('never'))).toEqual([]);
  }, 60_000);
});
