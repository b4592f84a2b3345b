import { dequantize, encode, type JsonObject, type PackedTensor, type QuantizedTensor, tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { fp8, mxfp4 } from '../../src/layouts.js';
import { expectFailure } from '../support/files.js';
import { openTensors } from '../support/layout-file.js';
import { expectRoundTrip, expectSameFloats, readWeight } from '../support/layouts.js';
import { floats, stored, storedFloats, wholeNumbers } from '../support/sample-weights.js';

const NAME = 'model.layers.0.mlp.up_proj.weight';
const f = Math.fround;

function e4m3(code: number): number {
  const [sign, e, m] = [code & 128 ? -1 : 1, (code >> 3) & 15, code & 7];
  if (e === 15 && m === 7) return Number.NaN;
  return sign * (e === 0 ? m * 2 ** -9 : (8 + m) * 2 ** (e - 10));
}

function e5m2(code: number): number {
  const [sign, e, m] = [code & 128 ? -1 : 1, (code >> 2) & 31, code & 3];
  if (e === 31) return m === 0 ? sign * Infinity : Number.NaN;
  return sign * (e === 0 ? m * 2 ** -16 : (4 + m) * 2 ** (e - 17));
}

function config(rest: JsonObject = {}, method = 'fp8'): JsonObject {
  return { quantization_config: { quant_method: method, activation_scheme: 'dynamic', ...rest } };
}

/** A round trip without the tensors beside the weight: what they say about it is lost. */
async function expectRoundTripOnce(q: QuantizedTensor): Promise<{ config: JsonObject }> {
  const { tensors, settings } = fp8.writer!.split(NAME, q);
  const json = fp8.writer!.config(new Map([[NAME, settings]]), []);
  expectSameFloats(dequantize(await readWeight(fp8, tensors, NAME, json)), dequantize(q));
  return { config: json };
}

describe('fp8', () => {
  const all = Array.from({ length: 256 }, (_, code) => code);
  const weight = stored('f8_e4m3', [4, 64], all);

  it('reads and writes one scale for the tensor, every code', async () => {
    for (const shape of [[], [1], [1, 1]]) {
      const q = await readWeight(
        fp8,
        { [NAME]: weight, [`${NAME}_scale`]: storedFloats([0.3], shape) },
        NAME,
        config(),
      );
      expectSameFloats(
        dequantize(q),
        all.map((code) => f(e4m3(code) * f(0.3))),
      );
      const { tensors, config: json } = await expectRoundTrip(fp8, q, ['lm_head.weight', 'a.weight']);
      expect(Object.fromEntries(tensors)).toEqual({ [NAME]: weight, [`${NAME}_scale`]: storedFloats([0.3], []) });
      expect(json).toEqual({
        quantization_config: {
          activation_scheme: 'dynamic',
          fmt: 'e4m3',
          ignored_layers: ['lm_head', 'a'],
          modules_to_not_convert: ['lm_head', 'a'],
          quant_method: 'fp8',
        },
      });
    }
  });

  it('reads and writes one scale for each row', async () => {
    const scales = [-1, 0.1, 1e-45, Infinity];
    for (const shape of [[4], [4, 1]]) {
      const tensors = { [NAME]: weight, [`${NAME}_scale`]: storedFloats(scales, shape) };
      const q = await readWeight(fp8, tensors, NAME, config({}, 'fbgemm_fp8'));
      expectSameFloats(
        dequantize(q),
        all.map((code) => f(e4m3(code) * f(scales[code >> 6]!))),
      );
      const { tensors: written, config: json } = await expectRoundTrip(fp8, q);
      expect(written.get(`${NAME}_scale`)).toEqual(storedFloats(scales, [4, 1]));
      expect(json).toEqual({
        quantization_config: {
          activation_scale_ub: 1200,
          modules_to_not_convert: ['lm_head'],
          quant_method: 'fbgemm_fp8',
        },
      });
    }
  });

  it('reads and writes blocks, smaller ones at the edges', async () => {
    const [rows, columns] = [129, 140];
    const codes = wholeNumbers(rows * columns, 256);
    const scales = floats(4);
    const tensors = {
      [NAME]: stored('f8_e4m3', [rows, columns], codes),
      [`${NAME}_scale_inv`]: storedFloats(scales, [2, 2]),
    };
    const values = codes.map((code, i) => {
      const block = Math.floor(Math.floor(i / columns) / 128) * 2 + Math.floor((i % columns) / 128);
      return f(e4m3(code) * scales[block]!);
    });
    for (const json of [undefined, config({ weight_block_size: [128, 128] })]) {
      const q = await readWeight(fp8, tensors, NAME, json);
      expectSameFloats(dequantize(q), values);
      const { tensors: written, config: own } = await expectRoundTrip(fp8, q);
      expect(Object.fromEntries(written)).toEqual(tensors);
      expect(own['quantization_config']).toMatchObject({ quant_method: 'fp8', weight_block_size: [128, 128] });
    }
    const powers = { ...tensors, [`${NAME}_scale_inv`]: stored('f8_e8m0', [2, 2], [127, 120, 1, 130]) };
    const q = await readWeight(fp8, powers, NAME, config({ weight_block_size: [128, 128] }));
    expect(dequantize(q)[0]).toBe(e4m3(codes[0]!));
    const { tensors: written } = await expectRoundTrip(fp8, q);
    expect(written.get(`${NAME}_scale_inv`)).toEqual(storedFloats([1, 2 ** -7, 2 ** -126, 8], [2, 2]));
  });

  it('reads E5M2, which is not written, and leaves scales of activations in the checkpoint', async () => {
    const tensors = {
      [NAME]: stored('f8_e5m2', [4, 64], all),
      [`${NAME}_scale`]: encode([2], 'bf16', []),
      'model.layers.0.mlp.up_proj.input_scale': storedFloats([1], []),
    };
    const q = await readWeight(fp8, tensors, NAME, config({ activation_scheme: 'static' }));
    expectSameFloats(
      dequantize(q),
      all.map((code) => f(e5m2(code) * 2)),
    );
    await expectFailure(() => fp8.writer?.split(NAME, q), 'UNSUPPORTED', 'E4M3');
    const opened = await openTensors(tensors);
    expect((await fp8.weights(opened, config())).get(NAME)?.stored).toEqual([NAME, `${NAME}_scale`]);
    const own = { ...tensors, [NAME]: weight };
    const { config: json } = await expectRoundTripOnce(await readWeight(fp8, own, NAME, config()));
    expect(json['quantization_config']).toMatchObject({ activation_scheme: 'static' });
  });

  it('writes float grids of any quantizer, or refuses', async () => {
    const make = (granularity: QuantizedTensor['scheme']['granularity'], parts: object): QuantizedTensor => ({
      kind: 'quantized',
      shape: [4, 64],
      scheme: { name: 'e4m3', version: 1, grid: { type: 'float', exponent: 4, mantissa: 3, bias: 7 }, granularity },
      parts: { codes: tensor(Uint8Array.from(all), [4, 64]), ...parts },
    });
    const split = (q: QuantizedTensor) => fp8.writer?.split(NAME, q);
    await expectRoundTrip(fp8, make({ type: 'tensor' }, {}));
    await expectRoundTrip(fp8, make({ type: 'axis', axis: 0 }, { globalScale: 0.3 }));
    const scales = tensor(floats(2), [1, 2]);
    await expectRoundTrip(fp8, make({ type: 'block', rows: 5, columns: 33 }, { scales, globalScale: 0.7 }));
    await expectFailure(() => split(make({ type: 'axis', axis: 1 }, {})), 'UNSUPPORTED', 'rows');
    await expectFailure(() => split(make({ type: 'group', axis: 1, size: 32 }, {})), 'UNSUPPORTED', 'blocks');
    const side = { channelScale: new Float32Array(64) };
    await expectFailure(() => split(make({ type: 'tensor' }, side)), 'UNSUPPORTED', 'channelScale');
    const mixed = new Map([
      ['a', { scales: 'block', blockSize: [128, 128] }],
      ['b', { scales: 'block', blockSize: [64, 64] }],
    ]);
    await expectFailure(() => fp8.writer?.config(mixed, []), 'UNSUPPORTED', 'blockSize');
    await expectFailure(() => fp8.writer?.config(new Map(), []), 'UNSUPPORTED');
  });

  it('refuses scales that do not fit and settings that make no sense', async () => {
    const read = (scale: Record<string, PackedTensor>, json = config()) =>
      readWeight(fp8, { [NAME]: weight, ...scale }, NAME, json);
    await expectFailure(() => read({}), 'FORMAT', `${NAME}_scale`, 'no such tensor');
    await expectFailure(() => read({ [`${NAME}_scale`]: storedFloats([1, 2]) }), 'FORMAT', '[2]', '4 rows');
    await expectFailure(() => read({ [`${NAME}_scale`]: stored('i8', [], [1]) }), 'FORMAT', 'i8');
    const blocks = { [`${NAME}_scale_inv`]: storedFloats([1, 2, 3], [3, 1]) };
    await expectFailure(() => read(blocks, config({ weight_block_size: [2, 64] })), 'FORMAT', '2 by 64');
    for (const size of ['128', [128], [0, 128], [1.5, 2], [128, 128, 128]]) {
      await expectFailure(() => read(blocks, config({ weight_block_size: size })), 'FORMAT', 'weight_block_size');
    }
    const experts = { 'x.weight': stored('f8_e4m3', [2, 2, 2], all.slice(0, 8)), 'x.weight_scale': storedFloats([1]) };
    await expectFailure(() => readWeight(fp8, experts, 'x.weight', config()), 'UNSUPPORTED', '[2,2,2]');
  });

  it('detects by the method, or by inverse scales where there is no configuration', async () => {
    const plain = await openTensors({ [NAME]: weight, [`${NAME}_scale`]: storedFloats([1], []) });
    expect(fp8.detect(plain)).toBe(false);
    expect(fp8.detect(plain, config())).toBe(true);
    expect(fp8.detect(plain, config({}, 'compressed-tensors'))).toBe(false);
    expect(fp8.detect(plain, config({}, 'modelopt'))).toBe(false);
    const floatsOnly = await openTensors({ [NAME]: storedFloats([1], [1, 1]) });
    expect(fp8.detect(floatsOnly, config())).toBe(false);
  });
});

describe('mxfp4', () => {
  const name = 'model.layers.0.mlp.experts.gate_up_proj';
  const codes = wholeNumbers(2 * 3 * 64, 16);
  const exponents = wholeNumbers(12, 254, 3);
  const bytes = Array.from({ length: 192 }, (_, i) => codes[2 * i]! + codes[2 * i + 1]! * 16);
  const tensors = {
    [`${name}_blocks`]: stored('u8', [2, 3, 2, 16], bytes),
    [`${name}_scales`]: stored('u8', [2, 3, 2], exponents),
    [`${name}_bias`]: storedFloats([1]),
  };
  const json = { quantization_config: { quant_method: 'mxfp4', modules_to_not_convert: [] } };

  it('reads experts, the first element in the low bits', async () => {
    const values = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
    const q = await readWeight(mxfp4, tensors, name, json);
    expect(q.shape).toEqual([2, 3, 64]);
    expectSameFloats(
      dequantize(q),
      codes.map((code, i) => f((code & 8 ? -1 : 1) * values[code & 7]! * 2 ** (exponents[Math.floor(i / 32)]! - 127))),
    );
    const writer = mxfp4.writer!;
    const { [`${name}_bias`]: _, ...own } = tensors;
    expect(Object.fromEntries(writer.split(name, q).tensors)).toEqual(own);
    expect(writer.config(new Map([[name, {}]]), ['model.layers.0.self_attn.q_proj.weight'])).toEqual({
      quantization_config: {
        modules_to_not_convert: ['model.layers.0.self_attn.q_proj', 'lm_head'],
        quant_method: 'mxfp4',
      },
    });
    const scales = tensor(
      Float32Array.from(exponents, (e) => 2 ** (e - 127)),
      [2, 3, 2],
    );
    const plain = { ...q, parts: { codes: q.parts.codes, scales } };
    expect(Object.fromEntries(writer.split(name, plain).tensors)).toEqual(own);
    const third = { ...plain, parts: { ...plain.parts, globalScale: 1 / 3 } };
    await expectFailure(() => writer.split(name, third), 'UNSUPPORTED', 'not exact');
    const flat = { ...plain, shape: [6, 64] };
    await expectFailure(() => writer.split(name, flat), 'UNSUPPORTED', 'experts');
    const sixteen = { ...q.scheme, granularity: { type: 'group', axis: 2, size: 16 } } as const;
    await expectFailure(() => writer.split(name, { ...plain, scheme: sixteen }), 'UNSUPPORTED', 'groups of 32');
  });

  it('refuses other shapes, detects its own', async () => {
    const short = { ...tensors, [`${name}_scales`]: stored('u8', [2, 2, 3], exponents) };
    await expectFailure(() => readWeight(mxfp4, short, name, json), 'FORMAT', '_scales', '[2,3,2]');
    const narrow = { ...tensors, [`${name}_blocks`]: stored('u8', [2, 3, 4, 8], bytes) };
    await expectFailure(() => readWeight(mxfp4, narrow, name, json), 'FORMAT', '_blocks');
    const opened = await openTensors(tensors);
    expect(mxfp4.detect(opened)).toBe(true);
    expect(mxfp4.detect(opened, { quantization_config: { quant_method: 'fp8' } })).toBe(false);
    expect(mxfp4.detect(await openTensors({ x_blocks: stored('u8', [1], [1]) }), json)).toBe(false);
  });
});
