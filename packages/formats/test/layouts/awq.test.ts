import { dequantize, type JsonObject, type PackedTensor, type QuantizedTensor, tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { awq, gptq } from '../../src/layouts.js';
import { expectFailure } from '../support/files.js';
import { openTensors } from '../support/layout-file.js';
import { expectRoundTrip, readOne } from '../support/layouts.js';
import { affine, int32, numbers, stored } from '../support/sample-weights.js';

const config = (settings: JsonObject = {}): JsonObject => ({
  quantization_config: { quant_method: 'awq', bits: 4, group_size: 16, zero_point: true, version: 'gemm', ...settings },
});

/** Word `c` of a line from the codes of columns `8 c ..`, nibble by nibble in AWQ's order. */
function slowWords(line: readonly number[]): number[] {
  const words: number[] = [];
  for (let first = 0; first < line.length; first += 8) {
    const at = (i: number) => line[first + i] as number;
    const nibbles = [at(0), at(2), at(4), at(6), at(1), at(3), at(5), at(7)];
    words.push(nibbles.reduce((word, nibble, i) => word + nibble * 16 ** i, 0) | 0);
  }
  return words;
}

/** A layer from `[in][out]` codes and `[groups][out]` zeros and f16 patterns. */
function layer(codes: number[][], zeros: number[][], scales: number[][]): Map<string, PackedTensor> {
  const rows = (codes[0] as number[]).length;
  return new Map([
    ['x.qweight', int32([codes.length, rows / 8], codes.flatMap(slowWords))],
    ['x.qzeros', int32([zeros.length, rows / 8], zeros.flatMap(slowWords))],
    ['x.scales', stored('f16', [zeros.length, rows], new Uint8Array(Uint16Array.from(scales.flat()).buffer))],
  ]);
}

const split = (weight: QuantizedTensor, name = 'x.weight') => awq.writer?.split(name, weight);

describe('awq', () => {
  it('reads a constant of its own from every output column', async () => {
    // Output j has code j everywhere: the word of outputs 0 .. 7 is 0x75316420.
    const codes = Array.from({ length: 32 }, () => Array.from({ length: 16 }, (_, j) => j));
    const zeros = Array.from({ length: 2 }, (_, group) =>
      Array.from({ length: 16 }, (__, j) => (group === 0 ? 0 : 15 - j)),
    );
    const tensors = layer(codes, zeros, [new Array(16).fill(0x3c00), new Array(16).fill(0x4000)]);
    expect([...(tensors.get('x.qweight') as PackedTensor).bytes.subarray(0, 4)]).toEqual([0x20, 0x64, 0x31, 0x75]);
    const read = await readOne(awq, tensors, config());
    const values = dequantize(read);
    for (let j = 0; j < 16; j++) {
      expect([...values.subarray(j * 32, j * 32 + 16)]).toEqual(new Array(16).fill(j));
      expect([...values.subarray(j * 32 + 16, j * 32 + 32)]).toEqual(new Array(16).fill(2 * (j - (15 - j))));
    }
  });

  it('writes what the slow packer writes', () => {
    const weight = affine({ rows: 16, columns: 32, bits: 4, groupSize: 16 });
    const codes = (weight.parts.codes as { data: Uint8Array }).data;
    const zeros = (weight.parts.zeros as { data: Int16Array }).data;
    const expected = layer(
      Array.from({ length: 32 }, (_, i) => Array.from({ length: 16 }, (__, j) => codes[j * 32 + i] as number)),
      Array.from({ length: 2 }, (_, g) => Array.from({ length: 16 }, (__, j) => zeros[j * 2 + g] as number)),
      [new Array(16).fill(0), new Array(16).fill(0)],
    );
    const tensors = split(weight)?.tensors;
    for (const name of ['x.qweight', 'x.qzeros']) expect(tensors?.get(name)).toEqual(expected.get(name));
  });

  it('writes weights that read back to the same values', async () => {
    for (const groupSize of [0, 8, 32, 1000]) {
      for (const zeros of ['none', 'whole'] as const) {
        for (const signed of [true, false]) {
          if (zeros === 'none' && !signed) continue;
          await expectRoundTrip(awq, affine({ rows: 24, columns: 64, bits: 4, groupSize, zeros, signed }));
        }
      }
    }
  });

  it('reads the names of settings that AutoAWQ had first', async () => {
    const random = numbers(3);
    const codes = Array.from({ length: 16 }, () => Array.from({ length: 8 }, () => random(16)));
    const tensors = layer(codes, [new Array(8).fill(0)], [new Array(8).fill(0x3c00)]);
    const bare = { w_bit: 4, q_group_size: 16, zero_point: true, version: 'GEMM' };
    const read = await readOne(awq, tensors, bare);
    expect([...dequantize(read)]).toEqual(Array.from({ length: 128 }, (_, i) => codes[i % 16]?.[Math.floor(i / 16)]));
    const perRow = await readOne(awq, tensors, config({ group_size: -1 }));
    expect(perRow.scheme.granularity).toEqual({ type: 'axis', axis: 0 });
  });

  it('writes the configuration that runtimes read', async () => {
    const write = awq.writer?.config as NonNullable<typeof awq.writer>['config'];
    const settings = { bits: 4, group_size: 128 };
    const quantization_config = {
      quant_method: 'awq',
      bits: 4,
      group_size: 128,
      zero_point: true,
      version: 'gemm',
      modules_to_not_convert: ['lm_head'],
    };
    // A head that is tied to the embedding is listed too.
    expect(write(new Map([['a.weight', settings]]), [])).toEqual({ quantization_config });
    expect(write(new Map([['a.weight', settings]]), ['lm_head.weight'])).toEqual({ quantization_config });
    expect(write(new Map([['lm_head.weight', settings]]), [])).toEqual({
      quantization_config: { ...quantization_config, modules_to_not_convert: null },
    });
    expect(write(new Map([['a.weight', settings]]), ['b.weight'])).toEqual({
      quantization_config: { ...quantization_config, modules_to_not_convert: ['b', 'lm_head'] },
    });
    const two = new Map([
      ['layers.1.up.weight', settings],
      ['layers.2.up.weight', { ...settings, group_size: 64 }],
    ]);
    await expectFailure(() => write(two, []), 'UNSUPPORTED', 'layers.2.up.weight: group_size 64');
    await expectFailure(
      () => write(new Map([['layers.1.up.weight', settings]]), ['up.weight']),
      'UNSUPPORTED',
      'contains up',
    );
  });

  it("says no to others' files", async () => {
    const codes = Array.from({ length: 16 }, () => new Array(8).fill(0));
    const checkpoint = await openTensors(layer(codes, [new Array(8).fill(0)], [new Array(8).fill(0)]));
    expect(awq.detect(checkpoint, config())).toBe(true);
    expect(gptq().detect(checkpoint, config())).toBe(false);
    for (const other of [undefined, {}, config({ quant_method: 'gptq' }), config({ quant_method: 7 })]) {
      expect(awq.detect(checkpoint, other)).toBe(false);
    }
  });

  it('refuses variants and damaged parts', async () => {
    const codes = Array.from({ length: 16 }, () => new Array(8).fill(0));
    const good = () => layer(codes, [new Array(8).fill(0)], [new Array(8).fill(0)]);
    for (const [settings, code, word] of [
      [{ version: 'gemv' }, 'UNSUPPORTED', 'gemv'],
      [{ version: ['gemm'] }, 'UNSUPPORTED', 'version'],
      [{ bits: 8 }, 'UNSUPPORTED', '8 bits'],
      [{ bits: {} }, 'FORMAT', 'bits'],
      [{ group_size: 0 }, 'FORMAT', 'group_size'],
      [{ group_size: 8 }, 'FORMAT', 'x.scales'],
    ] as const) {
      await expectFailure(() => readOne(awq, good(), config(settings as JsonObject)), code, word);
    }
    for (const [name, part] of [
      ['x.qzeros', undefined],
      ['x.scales', undefined],
      ['x.qzeros', int32([1, 2], [0, 0])],
      ['x.scales', stored('u8', [1, 8], new Uint8Array(8))],
      ['x.qweight', int32([16, 0], [])],
    ] as const) {
      const tensors = good();
      if (part === undefined) tensors.delete(name);
      else tensors.set(name, part);
      await expectFailure(() => readOne(awq, tensors, config()), 'FORMAT', name);
    }
  });

  it('refuses what the layout cannot hold, with the reason', async () => {
    const base = { rows: 16, columns: 32, bits: 4, groupSize: 16 } as const;
    const good = affine(base);
    const scales = tensor(new Float32Array(32).fill(0.1), [16, 2]);
    await expectFailure(() => split({ ...good, parts: { ...good.parts, scales } }), 'UNSUPPORTED', 'scales', 'f16');
    const zeros = tensor(new Float32Array(32).fill(0.5), [16, 2]);
    await expectFailure(() => split({ ...good, parts: { ...good.parts, zeros } }), 'UNSUPPORTED', 'whole number');
    await expectFailure(() => split(affine({ ...base, bits: 3 })), 'UNSUPPORTED', '3 bits');
    await expectFailure(() => split(affine({ ...base, rows: 12 })), 'UNSUPPORTED', '8 rows');
    await expectFailure(() => split(affine({ ...base, columns: 36 })), 'UNSUPPORTED', 'whole groups');
    await expectFailure(() => split(affine({ ...base, groupIndex: true })), 'UNSUPPORTED', 'g_idx');
    await expectFailure(() => split(good, 'wte'), 'UNSUPPORTED', '.weight');
  });
});
