import { dequantize, type JsonObject, type PackedTensor, type QuantizedTensor, tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { awq, type GptqOptions, gptq, withLayouts } from '../../src/layouts.js';
import { expectFailure } from '../support/files.js';
import { openTensors } from '../support/layout-file.js';
import { expectRoundTrip, flip, readChecked, readOne, slowPack } from '../support/layouts.js';
import { affine, int32, numbers, stored } from '../support/sample-weights.js';

const BITS = [2, 3, 4, 8];
const config = (settings: JsonObject): JsonObject => ({
  model_type: 'llama',
  quantization_config: { quant_method: 'gptq', desc_act: false, sym: false, ...settings },
});

/** A layer `x` packed bit by bit: codes `[out][in]`, stored zeros and f16 bit patterns of scales `[groups][out]`. */
function layer(
  bits: number,
  codes: readonly (readonly number[])[],
  storedZeros: readonly (readonly number[])[],
  scales: readonly (readonly number[])[],
  groupIndex?: readonly number[],
): Map<string, PackedTensor> {
  const words = flip(slowPack(codes, bits));
  const zeros = slowPack(storedZeros, bits);
  const tensors = new Map<string, PackedTensor>();
  tensors.set('x.qweight', int32([words.length, codes.length], words.flat()));
  tensors.set('x.qzeros', int32([zeros.length, (zeros[0] as number[]).length], zeros.flat()));
  const halves = new Uint8Array(Uint16Array.from(scales.flat()).buffer);
  tensors.set('x.scales', stored('f16', [scales.length, codes.length], halves));
  if (groupIndex !== undefined) tensors.set('x.g_idx', int32([groupIndex.length], groupIndex));
  return tensors;
}

const ONE = 0x3c00;
const filled = <T>(rows: number, columns: number, value: (row: number, column: number) => T): T[][] =>
  Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (__, column) => value(row, column)));

const codesOf = (q: QuantizedTensor) => (q.parts.codes as { data: Uint8Array }).data;
const zerosOf = (q: QuantizedTensor) => [...(q.parts.zeros as { data: Uint8Array }).data];

describe('gptq reader', () => {
  it('reads a file written by hand', async () => {
    // Row r of W holds codes 0 .. 7 from r on, modulo 16: the first column's word is 0x76543210.
    const word = (first: number) => Array.from({ length: 8 }, (_, i) => ((first + i) % 16) * 16 ** i);
    const words = Array.from({ length: 8 }, (_, row) => word(row).reduce((a, b) => a + b, 0) | 0);
    expect(words[0]).toBe(0x76543210);
    const tensors = new Map<string, PackedTensor>([
      ['x.qweight', int32([1, 8], words)],
      ['x.qzeros', stored('i32', [1, 1], [0x77, 0x77, 0x77, 0x77])],
      ['x.scales', stored('f16', [1, 8], new Uint8Array(Uint16Array.from(new Array(8).fill(0x3800)).buffer))],
    ]);
    const read = await readOne(gptq(), tensors, config({ bits: 4, group_size: -1 }));
    expect(read.shape).toEqual([8, 8]);
    expect([...dequantize(read).subarray(0, 8)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((code) => (code - 8) / 2));
    expect([...dequantize(read).subarray(56, 64)]).toEqual([7, 8, 9, 10, 11, 12, 13, 14].map((c) => (c - 8) / 2));
  });

  it.each(BITS)('reads %i-bit codes and zeros at every place, versions 1 and 2', async (bits) => {
    const [rows, columns, groupSize] = [32, 96, 40];
    const random = numbers(bits);
    const codes = filled(rows, columns, () => random(2 ** bits));
    const zeros = filled(3, rows, () => random(2 ** bits));
    const scales = filled(3, rows, () => 0x2000 + random(0x1000));
    for (const version of ['gptq', 'gptq_v2', undefined]) {
      const stored = zeros.map((row) => row.map((z) => (version === 'gptq_v2' ? z : (z + 2 ** bits - 1) % 2 ** bits)));
      const settings = {
        bits,
        group_size: groupSize,
        ...(version === undefined ? {} : { checkpoint_format: version }),
      };
      const read = await readOne(gptq(), layer(bits, codes, stored, scales), config(settings));
      expect([...codesOf(read)]).toEqual(codes.flat());
      expect(zerosOf(read)).toEqual(flip(zeros).flat());
      expect(read.parts.scales).toMatchObject({ dtype: 'f16', shape: [rows, 3] });
      expect([...new Uint16Array((read.parts.scales as PackedTensor).bytes.buffer)]).toEqual(flip(scales).flat());
      expect(read.parts.groupIndex).toBeUndefined();
    }
  });

  it('reads zeros 0 and 15 beside each other in both versions without carries', async () => {
    const codes = filled(8, 8, (row, column) => (row + column) % 16);
    for (const pattern of [
      () => 0,
      () => 15,
      (i: number) => (i % 2 === 0 ? 0 : 15),
      (i: number) => (i % 2 === 0 ? 15 : 0),
    ]) {
      const zeros = Array.from({ length: 8 }, (_, i) => pattern(i));
      const scales = filled(1, 8, () => ONE);
      const v1 = layer(4, codes, [zeros.map((zero) => (zero + 15) % 16)], scales);
      const v2 = layer(4, codes, [zeros], scales);
      expect(zerosOf(await readOne(gptq(), v1, config({ bits: 4, group_size: 8 })))).toEqual(zeros);
      const settings = { bits: 4, group_size: 8, checkpoint_format: 'gptq_v2' };
      expect(zerosOf(await readOne(gptq(), v2, config(settings)))).toEqual(zeros);
    }
  });

  it.each(BITS)('reads fields of %i bits at their extremes', async (bits) => {
    const top = 2 ** bits - 1;
    for (const value of [0, top]) {
      const tensors = layer(
        bits,
        filled(32, 32, () => value),
        [new Array(32).fill(value)],
        filled(1, 32, () => ONE),
      );
      const read = await readOne(gptq(), tensors, config({ bits, group_size: 32 }));
      expect(new Set(codesOf(read))).toEqual(new Set([value]));
      expect(new Set(zerosOf(read))).toEqual(new Set([(value + 1) % 2 ** bits]));
    }
  });

  it('reads the 3-bit codes that cross words: 10 and 21', async () => {
    // Codes 10 = 0b101 and 21 = 0b110: word 0 ends with 01, word 1 starts with 1 and ends with 0, word 2 starts with 11.
    const codes = filled(32, 32, (_, column) => (column === 10 ? 5 : column === 21 ? 6 : 0));
    const tensors = layer(
      3,
      codes,
      [new Array(32).fill(3)],
      filled(1, 32, () => ONE),
    );
    const words = new Uint32Array((tensors.get('x.qweight') as PackedTensor).bytes.buffer);
    expect([words[0], words[32], words[64]]).toEqual([0x40000000, 0x00000001, 0x00000003]);
    const read = await readOne(gptq(), tensors, config({ bits: 3, group_size: -1 }));
    expect([...codesOf(read)]).toEqual(codes.flat());
  });

  it('keeps g_idx where it is not trivial', async () => {
    const codes = filled(8, 16, (row, column) => (row * 3 + column) % 16);
    const zeros = filled(2, 8, (group, row) => group * 8 + row);
    const scales = filled(2, 8, (group) => (group === 0 ? ONE : 0x4000));
    const order = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0];
    const settings = config({ bits: 4, group_size: 8, desc_act: true, checkpoint_format: 'gptq_v2' });
    const read = await readOne(gptq(), layer(4, codes, zeros, scales, order), settings);
    expect([...(read.parts.groupIndex as Uint32Array)]).toEqual(order);
    const expected = codes.map((row, r) =>
      row.map((code, j) => ((order[j] as number) + 1) * (code - (order[j] as number) * 8 - r)),
    );
    expect([...dequantize(read)]).toEqual(expected.flat());
    const trivial = order.map((_, j) => Math.floor(j / 8));
    expect((await readOne(gptq(), layer(4, codes, zeros, scales, trivial), settings)).parts.groupIndex).toBeUndefined();
  });

  it('reads a bare quantize_config and leaves biases plain', async () => {
    const tensors = layer(
      4,
      filled(8, 8, () => 1),
      [new Array(8).fill(7)],
      filled(1, 8, () => ONE),
    );
    tensors.set('x.bias', stored('f16', [8], new Uint8Array(16)));
    const bare = { bits: 4, group_size: 128, desc_act: false, sym: true, damp_percent: 0.01 };
    const checkpoint = await withLayouts(await openTensors(tensors), { layouts: [awq, gptq()], config: bare });
    expect([...checkpoint.tensors.keys()]).toEqual(['x.bias']);
    const lazy = checkpoint.quantized?.get('x.weight');
    expect(lazy).toMatchObject({
      layout: 'gptq',
      stored: ['x.qweight', 'x.qzeros', 'x.scales'],
      byteLength: 32 + 4 + 16,
    });
    expect((await readChecked(lazy as NonNullable<typeof lazy>)).shape).toEqual([8, 8]);
  });

  it('reads layers with bits and groups of their own, as GPTQModel writes them', async () => {
    const codes = filled(8, 16, (row, column) => row * 16 + column);
    const indices = Array.from({ length: 16 }, (_, column) => Math.floor(column / 4));
    const tensors = layer(
      8,
      codes,
      filled(4, 8, () => 127),
      filled(4, 8, () => ONE),
      indices,
    );
    const settings = { bits: 4, group_size: 8, dynamic: { '+:x': { bits: 8, group_size: 4 } } };
    const read = await readOne(gptq(), tensors, config(settings));
    expect(read.scheme).toMatchObject({ grid: { bits: 8 }, granularity: { size: 4 } });
    expect([...codesOf(read)]).toEqual(codes.flat());
  });

  it("says no to others' files", async () => {
    const checkpoint = await openTensors(
      layer(
        4,
        filled(8, 8, () => 1),
        [new Array(8).fill(7)],
        filled(1, 8, () => ONE),
      ),
    );
    const layout = gptq();
    expect(layout.detect(checkpoint, config({ bits: 4 }))).toBe(true);
    for (const other of [
      undefined,
      {},
      { quantization_config: null },
      { quantization_config: { quant_method: 'awq' } },
    ]) {
      expect(layout.detect(checkpoint, other)).toBe(false);
    }
    const plain = await openTensors(new Map([['x.weight', stored('f32', [1, 1], [0, 0, 0, 0])]]));
    expect(layout.detect(plain, config({ bits: 4 }))).toBe(false);
  });

  it('refuses settings it cannot read', async () => {
    const tensors = layer(
      4,
      filled(8, 8, () => 1),
      [new Array(8).fill(7)],
      filled(1, 8, () => ONE),
    );
    const good = { bits: 4, group_size: 8 };
    for (const [settings, code, word] of [
      [{ ...good, bits: 5 }, 'UNSUPPORTED', '5 bits'],
      [{ ...good, bits: '4' }, 'FORMAT', 'bits'],
      [{ ...good, bits: 2 ** 40 }, 'FORMAT', 'bits'],
      [{ group_size: 8 }, 'FORMAT', 'bits'],
      [{ bits: 4 }, 'FORMAT', 'group_size'],
      [{ ...good, group_size: 0 }, 'FORMAT', 'group_size'],
      [{ ...good, group_size: -2 }, 'FORMAT', 'group_size'],
      [{ ...good, group_size: 1e300 }, 'FORMAT', 'group_size'],
      [{ ...good, checkpoint_format: 'marlin' }, 'UNSUPPORTED', 'marlin'],
      [{ ...good, checkpoint_format: 7 }, 'UNSUPPORTED', 'checkpoint_format'],
      [{ ...good, pack_dtype: 'int64' }, 'UNSUPPORTED', 'pack_dtype'],
    ] as const) {
      await expectFailure(() => readOne(gptq(), tensors, config(settings as JsonObject)), code, word);
    }
  });

  it('refuses parts that are missing or do not fit', async () => {
    const good = () =>
      layer(
        4,
        filled(8, 16, () => 1),
        filled(2, 8, () => 7),
        filled(2, 8, () => ONE),
        new Array(16).fill(0),
      );
    const settings = config({ bits: 4, group_size: 8 });
    const damaged = (change: (tensors: Map<string, PackedTensor>) => void) => {
      const tensors = good();
      change(tensors);
      return readOne(gptq(), tensors, settings);
    };
    for (const name of ['x.qzeros', 'x.scales']) {
      await expectFailure(() => damaged((tensors) => tensors.delete(name)), 'FORMAT', name);
    }
    for (const [name, part] of [
      ['x.qzeros', int32([1, 1], [0])],
      ['x.qzeros', stored('f32', [2, 1], new Uint8Array(8))],
      ['x.scales', stored('f16', [2, 9], new Uint8Array(36))],
      ['x.scales', stored('f16', [16], new Uint8Array(32))],
      ['x.g_idx', int32([15], new Array(15).fill(0))],
      ['x.qweight', int32([0, 8], [])],
    ] as const) {
      const code = name === 'x.scales' && part.shape.length === 1 ? 'UNSUPPORTED' : 'FORMAT';
      await expectFailure(() => damaged((tensors) => tensors.set(name, part)), code, name);
    }
    for (const bad of [2, -1, 2 ** 31 - 1]) {
      const indices = int32([16], new Array(16).fill(0).with(5, bad));
      await expectFailure(() => damaged((tensors) => tensors.set('x.g_idx', indices)), 'RANGE', 'column 5');
    }
    const odd = layer(
      4,
      filled(8, 8, () => 1),
      [new Array(8).fill(7)],
      filled(1, 8, () => ONE),
    );
    await expectFailure(() => readOne(gptq(), odd, config({ bits: 3, group_size: -1 })), 'FORMAT', 'qweight');
  });
});

describe('gptq writer', () => {
  const versions: GptqOptions[] = [{ version: 'v1' }, { version: 'v2' }];

  it.each(BITS)('writes %i-bit weights that read back to the same values', async (bits) => {
    for (const options of versions) {
      for (const signed of [false, true]) {
        for (const groupSize of [0, 16, 40, 1000]) {
          const zeros = options.version === 'v1' ? 'above 0' : 'whole';
          for (const groupIndex of groupSize > 0 && groupSize < 100 ? [false, true] : [false]) {
            const weight = affine({ rows: 32, columns: 96, bits, groupSize, signed, zeros, groupIndex, seed: bits });
            const read = (await expectRoundTrip(gptq(options), weight)).read;
            expect(read.scheme.granularity).toEqual(weight.scheme.granularity);
            expect(read.parts.groupIndex).toEqual(weight.parts.groupIndex);
          }
        }
      }
    }
  });

  it('writes bytes that a bit-by-bit packer writes too', () => {
    const weight = affine({ rows: 32, columns: 64, bits: 3, groupSize: 32, zeros: 'above 0', groupIndex: true });
    const codes = [...codesOf(weight)];
    const zeros = zerosOf(weight);
    const lines = filled(32, 64, (row, column) => codes[row * 64 + column] as number);
    const stored = filled(2, 32, (group, row) => (zeros[row * 2 + group] as number) - 1);
    const expected = layer(
      3,
      lines,
      stored,
      filled(2, 32, () => 0),
      [...(weight.parts.groupIndex as Uint32Array)],
    );
    const { tensors } = gptq().writer?.split('x.weight', weight) ?? { tensors: new Map() };
    for (const name of ['x.qweight', 'x.qzeros', 'x.g_idx']) expect(tensors.get(name)).toEqual(expected.get(name));
    expect([...tensors.keys()]).toEqual(['x.qweight', 'x.qzeros', 'x.scales', 'x.g_idx']);
  });

  it('writes symmetric weights with 0x77777777 in version 1 and 0x88888888 in version 2', () => {
    const weight = affine({ rows: 8, columns: 8, bits: 4, groupSize: 8, signed: true, zeros: 'none' });
    for (const [options, word] of [
      [{}, 0x77],
      [{ version: 'v2' }, 0x88],
    ] as const) {
      const { tensors, settings } = (gptq(options).writer as NonNullable<ReturnType<typeof gptq>['writer']>).split(
        'x.weight',
        weight,
      );
      expect([...(tensors.get('x.qzeros') as PackedTensor).bytes]).toEqual([word, word, word, word]);
      expect(settings).toEqual({ bits: 4, group_size: 8, sym: true, desc_act: false });
    }
  });

  it('writes the configuration that runtimes read', () => {
    const { config: write } = gptq({ version: 'v2' }).writer as NonNullable<ReturnType<typeof gptq>['writer']>;
    const settings = { bits: 4, group_size: 128, sym: true, desc_act: false };
    expect(write(new Map([['a.weight', settings]]), ['lm_head.weight'])).toEqual({
      quantization_config: {
        quant_method: 'gptq',
        bits: 4,
        group_size: 128,
        desc_act: false,
        sym: true,
        lm_head: false,
        checkpoint_format: 'gptq_v2',
        pack_dtype: 'int32',
      },
    });
    const mixed = new Map([
      ['lm_head.weight', { ...settings, sym: false }],
      ['b.weight', { ...settings, desc_act: true }],
    ]);
    expect(write(mixed, ['model.layers.0.mlp.up_proj.weight'])).toEqual({
      quantization_config: expect.objectContaining({
        sym: false,
        desc_act: true,
        lm_head: true,
        dynamic: { '-:^model\\.layers\\.0\\.mlp\\.up_proj$': {} },
      }),
    });
    expect(write(new Map(), [])).toEqual({});
  });

  it('refuses what the layout cannot hold, with the reason', async () => {
    const split = (weight: QuantizedTensor, options: GptqOptions = {}, name = 'x.weight') =>
      gptq(options).writer?.split(name, weight);
    const base = { rows: 32, columns: 32, bits: 4, groupSize: 16 } as const;
    const good = affine({ ...base, zeros: 'above 0' });
    const withParts = (parts: object): QuantizedTensor => ({ ...good, parts: { ...good.parts, ...parts } });
    expect(split(good)).toBeDefined();
    await expectFailure(() => split(affine(base)), 'UNSUPPORTED', 'zero - 1', 'version 2');
    const halves = tensor(new Float32Array(64).fill(7.5), [32, 2]);
    await expectFailure(() => split(withParts({ zeros: halves })), 'UNSUPPORTED', '7.5', 'whole number');
    for (const zero of [16, -1, NaN, Infinity]) {
      const zeros = tensor(new Float32Array(64).fill(zero), [32, 2]);
      await expectFailure(() => split(withParts({ zeros }), { version: 'v2' }), 'UNSUPPORTED', String(zero));
    }
    for (const scale of [1 / 3, 1e6, 2 ** -30]) {
      const scales = tensor(new Float32Array(64).fill(scale), [32, 2]);
      await expectFailure(() => split(withParts({ scales })), 'UNSUPPORTED', 'scales', 'f16');
    }
    const offsets = tensor(new Float32Array(64).fill(1), [32, 2]);
    await expectFailure(() => split(withParts({ offsets })), 'UNSUPPORTED', 'offsets');
    await expectFailure(() => split(withParts({ channelScale: new Float32Array(32) })), 'UNSUPPORTED', 'channelScale');
    const axis0: QuantizedTensor = {
      ...good,
      scheme: { ...good.scheme, granularity: { type: 'group', axis: 0, size: 16 } },
    };
    await expectFailure(() => split(axis0), 'UNSUPPORTED', 'axis 1');
    await expectFailure(() => split(affine({ ...base, bits: 5, zeros: 'above 0' })), 'UNSUPPORTED', '5 bits');
    await expectFailure(() => split(affine({ ...base, columns: 36 })), 'UNSUPPORTED', 'in 36');
    await expectFailure(() => split(affine({ ...base, rows: 30 })), 'UNSUPPORTED', 'out 30');
    await expectFailure(() => split(good, {}, 'transformer.wte'), 'UNSUPPORTED', '.weight');
    const settings = { bits: 4, group_size: 16, sym: true, desc_act: false };
    const both = new Map([
      ['a.weight', settings],
      ['b.weight', { ...settings, bits: 8 }],
    ]);
    await expectFailure(() => gptq().writer?.config(both, []), 'UNSUPPORTED', 'one setting', 'dynamic');
  });
});
