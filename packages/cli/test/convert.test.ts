import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { halftone } from './halftone.js';

let folder: string;
let q4: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-convert-'));
  q4 = join(folder, 'wren-q4_0.gguf');
  await halftone('quantize', 'wren', '--recipe', 'Q4_0', '--out', q4, '--quiet');
});
afterAll(() => rm(folder, { recursive: true }));

async function loss(model: string): Promise<number> {
  const text = new URL('../../wren/text/heldout.txt', import.meta.url).pathname;
  const { stdout } = await halftone('eval', model, '--text', text, '--max-windows', '1', '--json');
  return JSON.parse(stdout).meanNll;
}

describe('convert', () => {
  it.each(['gptq', 'awq', 'compressed-tensors', 'mlx', 'hqq', 'halftone'])(
    'moves a quantized model to %s and back without changing a weight',
    async (layout) => {
      const out = join(folder, layout);
      expect(await halftone('convert', q4, '--layout', layout, '--out', out)).toMatchObject({ code: 0 });
      const inspected = JSON.parse((await halftone('inspect', out, '--json')).stdout);
      expect(Object.keys(inspected.byType).some((type) => type.startsWith(`${layout} int4`))).toBe(true);
      expect(inspected.suspicious).toEqual([]);
      expect(await loss(out)).toBe(await loss(q4));
      const back = `${out}.gguf`;
      expect(await halftone('convert', out, '--out', back)).toMatchObject({ code: 0 });
      expect(await loss(back)).toBe(await loss(q4));
    },
    30_000,
  );

  it('keeps the layout of a folder that goes to a folder', async () => {
    const first = join(folder, 'first');
    const second = join(folder, 'second');
    await halftone('convert', q4, '--layout', 'gptq', '--out', first);
    await halftone('convert', first, '--out', second);
    const config = async (path: string) => JSON.parse(await readFile(join(path, 'config.json'), 'utf8'));
    expect(await config(second)).toEqual(await config(first));
    expect(await loss(second)).toBe(await loss(q4));
  });

  it('refuses what a layout cannot hold, with weights and reasons, and leaves nothing', async () => {
    const out = join(folder, 'refused');
    const { code, stderr } = await halftone('convert', q4, '--layout', 'fp8', '--out', out);
    expect(code).toBe(1);
    expect(stderr).toMatch(/28 weights cannot be stored exactly: model\.layers\.0\.self_attn\.q_proj\.weight: .*E4M3/);
    expect((await readdir(folder)).filter((name) => name.startsWith('refused'))).toEqual([]);
    const unquantized = await halftone('convert', 'wren', '--layout', 'gptq', '--out', out);
    expect(unquantized).toMatchObject({ code: 1, stderr: expect.stringContaining('quantize') });
    const folders = await halftone('convert', q4, '--layout', 'gptq', '--out', `${out}.gguf`);
    expect(folders).toMatchObject({ code: 1, stderr: expect.stringContaining('ggml blocks') });
  });

  it('decodes where it is told to', async () => {
    const out = join(folder, 'decoded');
    expect(await halftone('convert', q4, '--dtype', 'F32', '--out', out)).toMatchObject({ code: 0 });
    const { byType } = JSON.parse((await halftone('inspect', out, '--json')).stdout);
    expect(Object.keys(byType)).toEqual(['f32']);
    expect(await loss(out)).toBeCloseTo(await loss(q4), 6);
  });

  it('writes ONNX graphs with MatMulNBits, and NumPy archives', async () => {
    const onnx = join(folder, 'wren.onnx');
    expect(await halftone('convert', q4, '--out', onnx)).toMatchObject({ code: 0 });
    expect((await stat(`${onnx}_data`)).size).toBeGreaterThan(1e6);
    const { byType } = JSON.parse((await halftone('inspect', onnx, '--json')).stdout);
    expect(byType['onnx int4 g32']).toMatchObject({ tensors: 28 });
    const npz = join(folder, 'wren.npz');
    expect(await halftone('convert', 'wren', '--out', npz, '--dtype', 'F16')).toMatchObject({ code: 0 });
    const archive = JSON.parse((await halftone('inspect', npz, '--json')).stdout);
    expect(archive).toMatchObject({ format: 'npz', byType: { f16: { tensors: 38 } } });
    const refused = await halftone('convert', 'wren', '--out', onnx, '--dtype', 'BF16');
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('F32') });
  });
});
