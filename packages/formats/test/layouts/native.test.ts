import { dequantize, packCodes, type QuantizedTensor, tensor } from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { halftone } from '../../src/layouts.js';
import { parseSafetensorsHeader } from '../../src/safetensors-header.js';
import { expectFailure } from '../support/files.js';
import { layoutFile, openLayout, packedFile, readWeight } from '../support/layout-file.js';
import { comparable, randomWeight } from '../support/random-weight.js';

const ROWS = tensor(Float32Array.of(0.5, -2), [2]);

/** Five columns of three bits: a row takes two bytes, its codes cross them. */
const small: QuantizedTensor = {
  kind: 'quantized',
  shape: [2, 5],
  scheme: {
    name: 'affine',
    version: 1,
    grid: { type: 'affine', bits: 3, signed: false, symmetric: true },
    granularity: { type: 'axis', axis: 0 },
  },
  parts: { codes: tensor(Uint8Array.of(1, 2, 3, 4, 5, 7, 6, 0, 7, 1), [2, 5]), scales: ROWS },
};

type Json = Record<string, unknown>;
const metadataOf = (header: unknown) => ({ halftone: JSON.stringify(header) });
const entryOf = (q: QuantizedTensor) => halftone.writer?.split('w', q).settings as Json;
const tensorsOf = (q: QuantizedTensor) => halftone.writer?.split('w', q).tensors ?? new Map();

/** Opens and reads the small weight after one member of its header, by its path, became `value` (undefined: was removed). */
async function readEdited(path: string, value: unknown): Promise<QuantizedTensor> {
  const header = structuredClone({ version: 1, tensors: { w: entryOf(small) } });
  const keys = path.split('/');
  const last = keys.pop() as string;
  const parent = keys.reduce((object, key) => object[key] as Json, header as Json);
  parent[last] = value;
  return readWeight(halftone, await packedFile(tensorsOf(small), metadataOf(header)));
}

describe('halftone layout', () => {
  it('reads back every part of every quantized tensor, to the bit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.gen(), async (g) => {
        const weights = new Map([
          ['model.w', randomWeight(g)],
          ['__proto__', randomWeight(g)],
        ]);
        for (const weight of weights.values()) validateQuantized(weight);
        const plain = new Map([['norm', packCodes([1, 2], 8, false, [2])]]);
        const { file, config } = await layoutFile(halftone, weights, plain);
        const checkpoint = await openLayout(halftone, file, config);
        expect([...checkpoint.tensors.keys()]).toEqual(['norm']);
        expect([...(checkpoint.quantized?.keys() ?? [])].sort()).toEqual([...weights.keys()].sort());
        for (const [name, weight] of weights) {
          const lazy = checkpoint.quantized?.get(name);
          const read = await lazy?.read();
          expect(comparable(read)).toEqual(comparable(weight));
          expect(comparable(lazy?.scheme)).toEqual(comparable(weight.scheme));
          const [before, after] = [dequantize(weight), dequantize(read as QuantizedTensor)];
          expect(after.every((value, i) => Object.is(value, before[i]))).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('packs codes low bits first, each row from a byte on', async () => {
    const { file } = await layoutFile(halftone, new Map([['w', small]]));
    const headerLength = Number(new DataView(file.buffer).getBigUint64(0, true));
    const { tensors, metadata } = parseSafetensorsHeader(
      file.subarray(8, 8 + headerLength),
      file.length - 8 - headerLength,
    );
    expect(tensors.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
      ['w.scales', 'f32', [2]],
      ['w.codes', 'u8', [2, 2]],
    ]);
    const codes = tensors.find(({ name }) => name === 'w.codes');
    const data = file.subarray(8 + headerLength + (codes?.begin as number));
    // 001 010 011 100 101 from the lowest bit: 1 + 2*8 + 3*64 + 4*512 + 5*4096, then 7 + 6*8 + 0*64 + 7*512 + 1*4096.
    expect([...data]).toEqual([22737 & 255, 22737 >> 8, 7735 & 255, 7735 >> 8]);
    expect(JSON.parse(metadata.get('halftone') as string)).toEqual({
      version: 1,
      tensors: {
        w: {
          shape: [2, 5],
          scheme: small.scheme,
          parts: {
            codes: { dtype: 'u3', shape: [2, 5], array: 'Uint8Array' },
            scales: { dtype: 'f32', shape: [2], array: 'Float32Array' },
          },
        },
      },
    });
  });

  it('keeps codes that the grid has no bits for, and views with strides', async () => {
    const codes = tensor(Uint8Array.of(200, 2, 3, 4), [2, 2]);
    const strided = { data: Float32Array.of(9, 1, 9, 2, 9), shape: [2], stride: [2], offset: 1 };
    const weight: QuantizedTensor = { ...small, shape: [2, 2], parts: { codes, scales: strided } };
    const { file } = await layoutFile(halftone, new Map([['w', weight]]));
    const read = await readWeight(halftone, file);
    expect(read.parts.codes).toEqual(codes);
    expect(read.parts.scales).toEqual(tensor(Float32Array.of(1, 2), [2]));
  });

  it('gives results that later reads do not share', async () => {
    const { file } = await layoutFile(halftone, new Map([['w', small]]));
    const lazy = (await openLayout(halftone, file)).quantized?.get('w');
    const first = (await lazy?.read()) as QuantizedTensor;
    (first.parts.scales as { data: Float32Array }).data.fill(9);
    expect((await lazy?.read())?.parts.scales).toEqual(ROWS);
    expect(lazy).toMatchObject({ layout: 'halftone', stored: ['w.codes', 'w.scales'], byteLength: 12, shape: [2, 5] });
  });

  it('detects nothing in other files', async () => {
    const file = await packedFile(new Map([['w', packCodes([1], 8, false, [1])]]));
    expect((await openLayout(halftone, file)).quantized).toBeUndefined();
  });

  it('refuses other versions and members it does not know, but skips remarks', async () => {
    await expectFailure(() => readEdited('version', 2), 'UNSUPPORTED', 'version 2');
    await expectFailure(() => readEdited('shards', 1), 'UNSUPPORTED', 'shards');
    await expectFailure(() => readEdited('tensors/w/rotation', {}), 'UNSUPPORTED', 'rotation');
    await expectFailure(() => readEdited('tensors/w/scheme/grid/log', true), 'UNSUPPORTED', 'log');
    await expectFailure(() => readEdited('tensors/w/scheme/grid/type', 'nf'), 'UNSUPPORTED', 'nf');
    await expectFailure(() => readEdited('tensors/w/scheme/granularity/type', 'tile'), 'UNSUPPORTED', 'tile');
    await expectFailure(() => readEdited('tensors/w/parts/codes/order', 'z'), 'UNSUPPORTED', 'order');
    await expectFailure(() => readEdited('tensors/w/parts/bias', { dtype: 'u8', shape: [2] }), 'UNSUPPORTED', 'bias');
    const read = await readEdited('tensors/w/_remark', { any: ['thing'] });
    expect(comparable(read)).toEqual(comparable(small));
  });

  it.each([
    ['version', '1', 'FORMAT', 'version'],
    ['tensors', undefined, 'FORMAT', 'tensors'],
    ['tensors/w', 3, 'FORMAT', 'w is not an object'],
    ['tensors/v', entryOf(small), 'FORMAT', 'v.codes'],
    ['tensors/w/shape', [2, -5], 'FORMAT', 'shape'],
    ['tensors/w/shape', [2, 6], 'SHAPE', 'codes'],
    ['tensors/w/shape', [2 ** 40, 2 ** 40], 'SHAPE', '2^50'],
    ['tensors/w/globalScale', 'lots', 'FORMAT', 'globalScale'],
    ['tensors/w/scheme', undefined, 'FORMAT', 'scheme'],
    ['tensors/w/scheme/name', 7, 'FORMAT', 'name'],
    ['tensors/w/scheme/grid/bits', 2.5, 'FORMAT', 'bits'],
    ['tensors/w/scheme/grid/bits', 99, 'RANGE', 'bits'],
    ['tensors/w/scheme/grid/signed', 1, 'FORMAT', 'signed'],
    ['tensors/w/scheme/granularity/axis', 7, 'RANGE', 'axis'],
    ['tensors/w/scheme/input', [{}], 'FORMAT', 'input[0]'],
    ['tensors/w/scheme/input', {}, 'FORMAT', 'input'],
    ['tensors/w/scheme/params', [], 'FORMAT', 'params'],
    ['tensors/w/parts/codes', undefined, 'FORMAT', 'codes are missing'],
    ['tensors/w/parts/codes', entryOf(small), 'FORMAT', 'w.codes'],
    ['tensors/w/parts/codes/dtype', 'u33', 'UNSUPPORTED', 'u33'],
    ['tensors/w/parts/codes/dtype', 'f32', 'FORMAT', 'Uint8Array'],
    ['tensors/w/parts/codes/array', 'Int8Array', 'FORMAT', 'Int8Array'],
    ['tensors/w/parts/codes/array', 'constructor', 'FORMAT', 'constructor'],
    ['tensors/w/parts/codes/shape', [2, 4], 'SHAPE', 'codes'],
    ['tensors/w/parts/codes/shape', [2, 9], 'FORMAT', 'w.codes'],
    ['tensors/w/parts/scales/dtype', 'f16', 'FORMAT', 'f16'],
    ['tensors/w/outlierShape', [2, 5], 'FORMAT', 'outliers'],
    ['tensors/w/parts/lowRank.left', { dtype: 'f32', shape: [2, 1] }, 'FORMAT', 'lowRank'],
  ])('refuses a header whose %s is %j', async (path, value, code, word) => {
    await expectFailure(() => readEdited(path, value), code, word);
  });

  it('refuses headers that are not JSON, or nested without end', async () => {
    for (const text of ['', '{', 'null', '{"version":1,"version":1,"tensors":{}}', '['.repeat(1e5)]) {
      const file = await packedFile(tensorsOf(small), { halftone: text });
      await expectFailure(() => readWeight(halftone, file), 'FORMAT');
    }
    const nested = (depth: number): unknown =>
      depth === 0 ? entryOf(small) : { ...entryOf(small), parts: { codes: nested(depth - 1) } };
    const file = await packedFile(tensorsOf(small), metadataOf({ version: 1, tensors: { w: nested(9) } }));
    await expectFailure(() => readWeight(halftone, file), 'UNSUPPORTED', 'too deep');
  });

  it('survives any damaged byte of the file', async () => {
    const weight = { ...small, parts: { ...small.parts, channelScale: new Float32Array(5), lowRank: undefined } };
    const { file } = await layoutFile(halftone, new Map([['w', weight]]));
    let read = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 0, max: 255 }), async (at, byte) => {
        const damaged = file.slice();
        damaged[at] = byte;
        try {
          const { quantized } = await openLayout(halftone, damaged);
          for (const lazy of quantized?.values() ?? []) await lazy.read();
          read++;
        } catch (error) {
          expect((error as Error).name).toBe('HalftoneError');
        }
      }),
      { numRuns: 3000 },
    );
    expect(read).toBeGreaterThan(0);
  });

  it('refuses to write what could not be read back', async () => {
    const split = (weight: Partial<QuantizedTensor>) => halftone.writer?.split('w', { ...small, ...weight });
    const params = (value: unknown) => () => split({ scheme: { ...small.scheme, params: { value } } });
    await expectFailure(params(Number.NaN), 'UNSUPPORTED', 'scheme.params.value');
    await expectFailure(params([undefined]), 'UNSUPPORTED', 'value[0]');
    await expectFailure(params(new Float32Array(2)), 'UNSUPPORTED', 'Float32Array');
    await expectFailure(params(1n), 'UNSUPPORTED');
    let deep: unknown = 1;
    for (let i = 0; i < 40; i++) deep = [deep];
    await expectFailure(params(deep), 'UNSUPPORTED', 'deeper');
    await expectFailure(() => split({ shape: [2, 6] }), 'SHAPE', 'codes');
    const nest = (level: number): QuantizedTensor => ({
      ...small,
      shape: [2],
      parts: { codes: tensor(Uint8Array.of(1, 2), [2]), ...(level > 0 ? { scales: nest(level - 1) } : {}) },
    });
    expect(split(nest(4))?.tensors.size).toBe(5);
    await expectFailure(() => split(nest(5)), 'UNSUPPORTED', 'too deep');
  });

  it('writes settings as deep as it reads them', async () => {
    let value: unknown = 1;
    for (let i = 0; i < 21; i++) value = { value };
    const weight = { ...small, scheme: { ...small.scheme, params: { value } } };
    const { file } = await layoutFile(halftone, new Map([['w', weight]]));
    expect((await readWeight(halftone, file)).scheme).toEqual(weight.scheme);
  });

  it('marks the configuration, so that other runtimes do not take the model for a plain one', () => {
    expect(halftone.writer?.config(new Map(), [])).toEqual({ quantization_config: { quant_method: 'halftone' } });
  });
});
