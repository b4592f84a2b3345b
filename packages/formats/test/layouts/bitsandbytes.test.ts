import { dequantize, type PackedTensor, type QuantizedTensor, tensor, toFloat32 } from '@halftone/tensor';
import { FP4_VALUES, NF4_VALUES } from '@halftone/tensor/codebooks';
import { describe, expect, it } from 'vitest';
import { bitsandbytes } from '../../src/layouts.js';
import { expectFailure } from '../support/files.js';
import { openTensors } from '../support/layout-file.js';
import { expectRoundTrip, expectSameFloats, readWeight } from '../support/layouts.js';
import { floats, stored, storedFloats, wholeNumbers } from '../support/sample-weights.js';

const NAME = 'model.layers.0.mlp.up_proj.weight';
const f = Math.fround;
const TABLES = { nf4: NF4_VALUES, fp4: FP4_VALUES };

interface Example {
  readonly type: 'nf4' | 'fp4';
  readonly shape: readonly number[];
  readonly blockSize: number;
  readonly nestedBlockSize?: number;
  readonly seed?: number;
}

/** The file's tensors and the values that bitsandbytes decodes, element by element. */
function fourBit({ type, shape, blockSize, nestedBlockSize, seed = 3 }: Example) {
  const count = shape.reduce((a, b) => a * b, 1);
  const blocks = Math.ceil(count / blockSize);
  const codes = wholeNumbers(count, 16, seed);
  const bytes = new Uint8Array(Math.ceil(count / 2));
  codes.forEach((code, i) => {
    for (let bit = 0; bit < 4; bit++) {
      if ((code >> bit) & 1) bytes[Math.floor(i / 2)]! += 2 ** (bit + (i % 2 === 0 ? 4 : 0));
    }
  });
  const state: Record<string, unknown> = { quant_type: type, blocksize: blockSize, dtype: 'float16', shape };
  const tensors: Record<string, PackedTensor> = {
    [NAME]: stored('u8', [bytes.length, 1], bytes),
    [`${NAME}.quant_map`]: storedFloats(TABLES[type]),
  };
  let absmax: number[] = [...floats(blocks, seed)];
  if (nestedBlockSize === undefined) tensors[`${NAME}.absmax`] = storedFloats(absmax);
  else {
    const scaleCodes = wholeNumbers(blocks, 256, seed + 1);
    const map = floats(256, seed + 2);
    const nestedAbsmax = floats(Math.ceil(blocks / nestedBlockSize), seed + 3);
    const offset = f(0.0419);
    tensors[`${NAME}.absmax`] = stored('u8', [blocks], scaleCodes);
    tensors[`${NAME}.nested_absmax`] = storedFloats(nestedAbsmax);
    tensors[`${NAME}.nested_quant_map`] = storedFloats(map);
    Object.assign(state, { nested_blocksize: nestedBlockSize, nested_dtype: 'float32', nested_offset: offset });
    absmax = scaleCodes.map((code, b) => f(f(map[code]! * nestedAbsmax[Math.floor(b / nestedBlockSize)]!) + offset));
  }
  const json = new TextEncoder().encode(JSON.stringify(state));
  tensors[`${NAME}.quant_state.bitsandbytes__${type}`] = stored('u8', [json.length], json);
  const values = codes.map((code, i) => f(f(TABLES[type][code]!) * absmax[Math.floor(i / blockSize)]!));
  return { tensors, values, state };
}

function withState(tensors: Record<string, PackedTensor>, state: unknown): Record<string, PackedTensor> {
  const text = typeof state === 'string' ? state : JSON.stringify(state);
  const bytes = new TextEncoder().encode(text);
  return { ...tensors, [`${NAME}.quant_state.bitsandbytes__nf4`]: stored('u8', [bytes.length], bytes) };
}

describe('bitsandbytes 4-bit', () => {
  it('reads hand-packed bytes, high nibble first', async () => {
    const state = { quant_type: 'nf4', blocksize: 64, dtype: 'bfloat16', shape: [1, 3] };
    const tensors = withState(
      {
        [NAME]: stored('u8', [2, 1], [0x0f, 0x80]),
        [`${NAME}.absmax`]: storedFloats([2]),
        [`${NAME}.quant_map`]: storedFloats(NF4_VALUES),
      },
      state,
    );
    const q = await readWeight(bitsandbytes, tensors, NAME);
    expect([...dequantize(q)]).toEqual([-2, 2, f(f(0.07958029955625534) * 2)]);
  });

  const examples: [string, Example][] = [
    ['rows of whole blocks', { type: 'nf4', shape: [3, 128], blockSize: 64 }],
    ['blocks that cross rows', { type: 'nf4', shape: [5, 96], blockSize: 64 }],
    ['an odd number of elements', { type: 'fp4', shape: [3, 67], blockSize: 64 }],
    ['less than one block', { type: 'nf4', shape: [1, 5], blockSize: 64 }],
    ['three axes', { type: 'fp4', shape: [2, 3, 80], blockSize: 128 }],
    ['nested scales, whole rows', { type: 'nf4', shape: [4, 256], blockSize: 64, nestedBlockSize: 256 }],
    ['nested blocks inside rows', { type: 'nf4', shape: [2, 1024], blockSize: 64, nestedBlockSize: 4 }],
    ['nested blocks that cross rows', { type: 'nf4', shape: [9, 320], blockSize: 64, nestedBlockSize: 16 }],
    ['both kinds of blocks crossing rows', { type: 'fp4', shape: [41, 99], blockSize: 64, nestedBlockSize: 8 }],
    ['no rows', { type: 'nf4', shape: [0, 64], blockSize: 64 }],
    ['no columns', { type: 'nf4', shape: [4, 0], blockSize: 64 }],
  ];
  it.each(examples)('reads %s as bitsandbytes decodes, and writes them back', async (_, example) => {
    const { tensors, values, state } = fourBit(example);
    const q = await readWeight(bitsandbytes, tensors, NAME);
    expect(q.shape).toEqual(example.shape);
    expectSameFloats(dequantize(q), values);
    const { tensors: written } = await expectRoundTrip(bitsandbytes, q);
    const own = Object.keys(tensors).filter((name) => !name.includes('quant_state'));
    expect([...written.keys()].filter((name) => !name.includes('quant_state')).sort()).toEqual(own.sort());
    for (const name of own) expect(written.get(name), name).toEqual(tensors[name]);
    const json = written.get(`${NAME}.quant_state.bitsandbytes__${example.type}`)?.bytes;
    expect(JSON.parse(new TextDecoder().decode(json))).toEqual(state);
  });

  it('keeps nested scales quantized, and scales of one float where blocks are', async () => {
    const nested = await readWeight(bitsandbytes, fourBit(examples[5]![1]).tensors, NAME);
    expect(nested.parts.scales?.kind).toBe('quantized');
    const plain = await readWeight(bitsandbytes, fourBit(examples[0]![1]).tensors, NAME);
    expect(plain.parts.scales?.shape).toEqual([3, 2]);
  });

  it('writes any scales of groups that are flat blocks, in the smallest blocks that hold them', async () => {
    const codes = tensor(Uint8Array.from(wholeNumbers(3 * 256, 16)), [3, 256]);
    const codebook = tensor(Float32Array.from(NF4_VALUES), [16, 1]);
    const grid = { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 } as const;
    const make = (
      granularity: QuantizedTensor['scheme']['granularity'],
      scales: QuantizedTensor['parts']['scales'],
    ) => ({
      kind: 'quantized' as const,
      shape: [3, 256],
      scheme: { name: 'nf4', version: 1, grid, granularity },
      parts: { codes, codebook, scales },
    });
    const group = { type: 'group', axis: 1, size: 128 } as const;
    const { tensors } = await expectRoundTrip(bitsandbytes, make(group, tensor(floats(6), [3, 2])));
    expect(tensors.get(`${NAME}.absmax`)?.shape).toEqual([6]);
    await expectRoundTrip(bitsandbytes, make({ type: 'axis', axis: 0 }, tensor(floats(3), [3])));
    await expectRoundTrip(bitsandbytes, { ...make({ type: 'tensor' }, tensor(floats(1), [1])) });
    const scaled = make(group, tensor(floats(6), [3, 2]));
    await expectRoundTrip(bitsandbytes, { ...scaled, parts: { ...scaled.parts, globalScale: 0.3 } });
    const half = make({ type: 'group', axis: 1, size: 32 }, tensor(floats(24), [3, 8]));
    await expectFailure(() => bitsandbytes.writer?.split(NAME, half), 'UNSUPPORTED', NAME, 'block size');
    const other = { ...scaled, parts: { ...scaled.parts, codebook: tensor(floats(16), [16, 1]) } };
    await expectFailure(() => bitsandbytes.writer?.split(NAME, other), 'UNSUPPORTED', 'nf4');
    const permuted = { ...scaled, parts: { ...scaled.parts, permutation: new Uint32Array(256) } };
    await expectFailure(() => bitsandbytes.writer?.split(NAME, permuted), 'UNSUPPORTED', 'permutation');
    const columns = make({ type: 'axis', axis: 1 }, tensor(floats(256), [256]));
    await expectFailure(() => bitsandbytes.writer?.split(NAME, columns), 'UNSUPPORTED', 'groups of a row');
  });

  it('writes plain scales where nested ones cannot be held: the values stay', async () => {
    const q = await readWeight(bitsandbytes, fourBit(examples[5]![1]).tensors, NAME);
    const scales = q.parts.scales as QuantizedTensor;
    const offsets = tensor(floats(4), [4, 1]);
    const uneven = { ...q, parts: { ...q.parts, scales: { ...scales, parts: { ...scales.parts, offsets } } } };
    const { tensors, read } = await expectRoundTrip(bitsandbytes, uneven);
    expect(tensors.get(`${NAME}.absmax`)?.dtype).toBe('f32');
    expectSameFloats(toFloat32(read.parts.scales as QuantizedTensor), dequantize(uneven.parts.scales));
  });

  it('keeps NaN, infinite, denormal and negative scales', async () => {
    const { tensors } = fourBit({ type: 'nf4', shape: [6, 64], blockSize: 64 });
    const absmax = [Number.NaN, Infinity, 1e-45, -3, 0, -0];
    const q = await readWeight(bitsandbytes, { ...tensors, [`${NAME}.absmax`]: storedFloats(absmax) }, NAME);
    await expectRoundTrip(bitsandbytes, q);
  });

  it('writes the configuration that transformers reads', async () => {
    const q = await readWeight(bitsandbytes, fourBit(examples[5]![1]).tensors, NAME);
    const { config } = await expectRoundTrip(bitsandbytes, q, ['model.layers.1.mlp.up_proj.weight']);
    expect(config).toEqual({
      quantization_config: {
        _load_in_4bit: true,
        _load_in_8bit: false,
        bnb_4bit_compute_dtype: 'float16',
        bnb_4bit_quant_storage: 'uint8',
        bnb_4bit_quant_type: 'nf4',
        bnb_4bit_use_double_quant: true,
        llm_int8_enable_fp32_cpu_offload: false,
        llm_int8_has_fp16_weight: false,
        llm_int8_skip_modules: ['model.layers.1.mlp.up_proj', 'lm_head'],
        llm_int8_threshold: 6,
        load_in_4bit: true,
        load_in_8bit: false,
        quant_method: 'bitsandbytes',
      },
    });
    const writer = bitsandbytes.writer!;
    const mixed = new Map([
      ['a', { bits: 4 }],
      ['b', { bits: 8 }],
    ]);
    await expectFailure(() => writer.config(mixed, []), 'UNSUPPORTED', 'bits');
    await expectFailure(() => writer.config(new Map(), []), 'UNSUPPORTED');
  });

  it('refuses damaged settings and parts that do not fit', async () => {
    const { tensors, state } = fourBit({ type: 'nf4', shape: [4, 96], blockSize: 64 });
    const { tensors: nested, state: nestedState } = fourBit({
      type: 'nf4',
      shape: [4, 96],
      blockSize: 64,
      nestedBlockSize: 256,
    });
    const read = (changed: Record<string, PackedTensor>) => readWeight(bitsandbytes, changed, NAME);
    const bad: [unknown, string][] = [
      ['{', 'FORMAT'],
      ['[]', 'FORMAT'],
      ['{"a":1,"a":1}', 'FORMAT'],
      [{ ...state, quant_type: 'fp4' }, 'FORMAT'],
      [{ ...state, quant_type: '__proto__' }, 'FORMAT'],
      [{ ...state, dtype: 'float64' }, 'FORMAT'],
      [{ ...state, blocksize: 0 }, 'FORMAT'],
      [{ ...state, blocksize: 64.5 }, 'FORMAT'],
      [{ ...state, blocksize: 1e9 }, 'FORMAT'],
      [{ ...state, blocksize: 128 }, 'FORMAT'],
      [{ ...state, shape: undefined }, 'FORMAT'],
      [{ ...state, shape: [] }, 'FORMAT'],
      [{ ...state, shape: [4, '96'] }, 'FORMAT'],
      [{ ...state, shape: [4, 97] }, 'FORMAT'],
      [{ ...state, shape: [2 ** 40, 2 ** 40] }, 'SHAPE'],
      [{ ...state, shape: new Array(9).fill(1) }, 'FORMAT'],
      [{ ...state, nested_offset: 1 }, 'FORMAT'],
      [{ ...state, nested_blocksize: 256, nested_dtype: 'float32', nested_offset: 1 }, 'FORMAT'],
    ];
    for (const [changed, code] of bad) await expectFailure(() => read(withState(tensors, changed)), code, NAME);
    for (const changed of [{ nested_dtype: 'float16' }, { nested_offset: 'x' }, { nested_blocksize: -1 }]) {
      await expectFailure(() => read(withState(nested, { ...nestedState, ...changed })), 'FORMAT', NAME);
    }
    const stateName = `${NAME}.quant_state.bitsandbytes__nf4`;
    await expectFailure(() => read({ ...tensors, [stateName]: stored('u8', [2], [0xff, 0xfe]) }), 'FORMAT', 'UTF-8');
    const long = stored('u8', [5000], new Uint8Array(5000).fill(32));
    await expectFailure(() => read({ ...tensors, [stateName]: long }), 'FORMAT', 'quant_state');
    for (const suffix of ['', '.absmax', '.quant_map', '.nested_absmax', '.nested_quant_map']) {
      const { [`${NAME}${suffix}`]: _, ...rest } = nested;
      await expectFailure(() => read(rest), 'FORMAT', `${NAME}${suffix}`, 'no such tensor');
    }
    const map = storedFloats(FP4_VALUES);
    await expectFailure(() => read({ ...tensors, [`${NAME}.quant_map`]: map }), 'UNSUPPORTED', 'table of nf4');
  });
});

describe('bitsandbytes int8', () => {
  const module = NAME.replace('.weight', '');
  const codes = Int8Array.from([-128, -127, -1, 0, 1, 127]);
  const scb = [3.5, 0.1];
  const tensors = {
    [NAME]: stored('i8', [2, 3], new Uint8Array(codes.buffer)),
    [`${module}.SCB`]: storedFloats(scb),
    [`${module}.weight_format`]: stored('u8', [], [0]),
    [`${module}.bias`]: storedFloats([1, 2]),
  };
  const values = [...codes].map((code, i) => f(code * f(f(scb[Math.floor(i / 3)]!) / 127)));

  it('reads and writes back the same bytes', async () => {
    const q = await readWeight(bitsandbytes, tensors, NAME);
    expectSameFloats(dequantize(q), values);
    const { tensors: written, config } = await expectRoundTrip(bitsandbytes, q);
    const { [`${module}.bias`]: _, ...own } = tensors;
    expect(Object.fromEntries(written)).toEqual(own);
    expect(config['quantization_config']).toMatchObject({
      load_in_8bit: true,
      load_in_4bit: false,
      llm_int8_skip_modules: ['lm_head'],
      llm_int8_threshold: 6,
    });
  });

  it('is within a unit in the last place of what bitsandbytes multiplies', async () => {
    const rows = 64;
    const random = Int8Array.from(wholeNumbers(rows * 16, 255), (n) => n - 127);
    const maxima = floats(rows, 5);
    const many = {
      [NAME]: stored('i8', [rows, 16], new Uint8Array(random.buffer)),
      [`${module}.SCB`]: storedFloats(maxima),
    };
    const decoded = dequantize(await readWeight(bitsandbytes, many, NAME));
    random.forEach((code, i) => {
      const theirs = f(f(code * maxima[Math.floor(i / 16)]!) * f(7.874015718698502e-3));
      expect(Math.abs(decoded[i]! - theirs)).toBeLessThanOrEqual(Math.abs(theirs) * 2 ** -22);
    });
  });

  it('writes symmetric rows whose scale is a float32 over 127, refuses others', async () => {
    const scheme = {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits: 8, signed: true, symmetric: true },
      granularity: { type: 'axis', axis: 0 },
    } as const;
    const make = (scale: number, shape: number[] = [2, 3]): QuantizedTensor => ({
      kind: 'quantized',
      shape,
      scheme,
      parts: { codes: tensor(codes, shape), scales: tensor(Float32Array.of(scale, f(1 / 127))) },
    });
    const split = (q: QuantizedTensor) => bitsandbytes.writer?.split(NAME, q);
    await expectRoundTrip(bitsandbytes, make(0.5));
    // Between 128 and 254, steps of a float32 over 127 are longer than steps of the float32 near it: some are left out.
    const images = new Set(Array.from({ length: 400 }, (_, i) => f((200 + i * 2 ** -16) / 127)));
    let lost = Math.min(...images);
    while (images.has(lost)) lost = f(lost + 2 ** -23);
    await expectFailure(() => split(make(lost)), 'UNSUPPORTED', 'row 0', '127');
    const grouped = { ...make(0.5), scheme: { ...scheme, granularity: { type: 'group', axis: 1, size: 2 } } } as const;
    const scales = tensor(floats(4), [2, 2]);
    await expectFailure(() => split({ ...grouped, parts: { ...grouped.parts, scales } }), 'UNSUPPORTED', 'each row');
    const four = { ...make(0.5), scheme: { ...scheme, grid: { ...scheme.grid, bits: 4 } } };
    four.parts = { ...four.parts, codes: tensor(new Int8Array(6), [2, 3]) };
    await expectFailure(() => split(four), 'UNSUPPORTED', '8 bits');
  });

  it('refuses other orders and shapes', async () => {
    const read = (changed: Record<string, PackedTensor>) => readWeight(bitsandbytes, { ...tensors, ...changed }, NAME);
    await expectFailure(() => read({ [`${module}.weight_format`]: stored('u8', [], [2]) }), 'UNSUPPORTED', 'format 2');
    await expectFailure(() => read({ [`${module}.SCB`]: storedFloats([1]) }), 'FORMAT', 'SCB', '[2]');
    await expectFailure(() => read({ 'other.SCB': storedFloats([1]) }), 'FORMAT', 'other.weight');
  });
});

describe('bitsandbytes detection', () => {
  it('takes its own tensors, not others and not other methods', async () => {
    const own = await openTensors(fourBit({ type: 'nf4', shape: [2, 64], blockSize: 64 }).tensors);
    expect(bitsandbytes.detect(own)).toBe(true);
    expect(bitsandbytes.detect(own, { quantization_config: { quant_method: 'bitsandbytes' } })).toBe(true);
    expect(bitsandbytes.detect(own, { quantization_config: { quant_method: 'gptq' } })).toBe(false);
    const plain = await openTensors({ [NAME]: storedFloats([1, 2], [1, 2]), 'x.SCB': storedFloats([1]) });
    expect(bitsandbytes.detect(plain)).toBe(false);
    expect(bitsandbytes.detect(plain, { quantization_config: { quant_method: 'bitsandbytes' } })).toBe(false);
  });
});
