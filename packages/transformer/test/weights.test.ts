import { wasmBackend } from '@halftone/kernels-wasm';
import {
  encode,
  type KernelBackend,
  type LazyTensor,
  type LinearNode,
  type PackedTensor,
  packed,
  packedByteLength,
  type RowRange,
  type StorageType,
  tensor,
} from '@halftone/tensor';
import { afterAll, describe, expect, it } from 'vitest';
import { createModel, loadLinear, type ModelSource, referenceBackend } from '../src/index.js';
import { noise, TINY, tinySource } from './tiny-models.js';

const OUT = 11;
const IN = 256;
const NODE: LinearNode = {
  name: 'mlp.down',
  weight: 'weight',
  bias: 'bias',
  outFeatures: OUT,
  inFeatures: IN,
  input: 'in',
  output: 'out',
};

function values(length: number): Float32Array {
  const next = noise(7);
  return Float32Array.from({ length }, () => next());
}

/** Random blocks of numbers: the exponents of their binary16 scales are small. */
function blocks(dtype: 'Q4_0' | 'Q8_0', blockBytes: number): PackedTensor {
  const next = noise(3);
  const bytes = Uint8Array.from({ length: packedByteLength(dtype, [OUT, IN]) }, (_, i) => {
    const byte = Math.floor((next() + 1) * 128);
    return i % blockBytes === 1 ? byte & 0x3b : byte;
  });
  return packed(dtype, [OUT, IN], bytes);
}

function lazyTensor(name: string, { dtype, shape, bytes }: PackedTensor): LazyTensor {
  const rowBytes = bytes.length / shape[0];
  return {
    kind: 'lazy',
    name,
    dtype,
    shape,
    byteLength: bytes.length,
    async read(rows: RowRange = { start: 0, end: shape[0] }) {
      return packed(
        dtype,
        [rows.end - rows.start, ...shape.slice(1)],
        bytes.slice(rows.start * rowBytes, rows.end * rowBytes),
      );
    },
  };
}

/** A source of one linear layer: nothing else of it is read. */
function sourceOf(weight: PackedTensor): ModelSource {
  const tensors = new Map([
    ['weight', lazyTensor('weight', weight)],
    ['bias', lazyTensor('bias', encode(values(OUT), 'f32', [OUT]))],
  ]);
  const { source } = tinySource(TINY.llama);
  return { ...source, checkpoint: { ...source.checkpoint, tensors } };
}

describe('loadLinear', () => {
  const inner = wasmBackend();
  afterAll(() => inner.dispose());
  const uploads: string[] = [];
  const backend: KernelBackend = {
    ...inner,
    uploadLinear(weight, bias) {
      uploads.push(weight.kind === 'quantized' ? 'quantized' : 'float');
      return inner.uploadLinear(weight, bias);
    },
    uploadPacked(weight, bias, options) {
      uploads.push(`packed ${weight.dtype}`);
      return inner.uploadPacked(weight, bias, options);
    },
  };

  /** The kind of upload, and the products of the layer with three rows. */
  async function loaded(
    weight: PackedTensor,
    to: KernelBackend,
    options: Parameters<typeof loadLinear>[3] = {},
    node = NODE,
  ): Promise<[string, Float32Array]> {
    uploads.length = 0;
    const uploaded = await loadLinear(sourceOf(weight), node, to, options);
    const out = new Float32Array(3 * OUT);
    await to.linear(uploaded, values(3 * IN), 3, out);
    to.release(uploaded);
    return [uploads.join(), out];
  }

  const cases: [StorageType, PackedTensor][] = [
    ['Q4_0', blocks('Q4_0', 18)],
    ['Q8_0', blocks('Q8_0', 34)],
    ...(['f32', 'f16', 'bf16'] as const).map((dtype): [StorageType, PackedTensor] => [
      dtype,
      encode(values(OUT * IN), dtype, [OUT, IN]),
    ]),
  ];

  it.each(cases)(
    'gives %s to the backend as it is stored, with the same products as unpacked',
    async (dtype, weight) => {
      const [how, out] = await loaded(weight, backend);
      expect(how).toBe(`packed ${dtype}`);
      const [otherwise, expected] = await loaded(weight, { ...backend, uploadPacked: undefined });
      expect(otherwise).toBe(dtype.startsWith('Q') ? 'quantized' : 'float');
      expect(out.some((value) => value !== 0)).toBe(true);
      expect(out).toEqual(expected);
    },
  );

  it('decodes what it is told to decode, takes replacements, and turns what is stored transposed', async () => {
    const q8 = blocks('Q8_0', 34);
    const f16 = encode(values(OUT * IN), 'f16', [OUT, IN]);
    expect((await loaded(q8, backend, { precision: 'f32' }))[0]).toBe('float');
    expect((await loaded(f16, backend, { precision: 'f32' }))[0]).toBe('packed f16');
    const weights = (name: string) => (name === 'weight' ? tensor(values(OUT * IN), [OUT, IN]) : undefined);
    expect((await loaded(q8, backend, { weights }))[0]).toBe('float');
    const turned = encode(values(OUT * IN), 'f32', [IN, OUT]);
    expect((await loaded(turned, backend, {}, { ...NODE, storedTransposed: true }))[0]).toBe('float');
    expect((await loaded(f16, referenceBackend()))[1]).toHaveLength(3 * OUT);
  });
});

describe('a model that fails while it is loaded', () => {
  const { source } = tinySource(TINY.llama);
  const failing = (name: string, error: () => unknown): ModelSource => {
    const tensors = new Map(source.checkpoint.tensors);
    const lazy = tensors.get(name) as LazyTensor;
    tensors.set(name, { ...lazy, read: () => Promise.reject(error()) });
    return { ...source, checkpoint: { ...source.checkpoint, tensors } };
  };

  it.each([
    ['model.layers.1.mlp.down_proj.weight', undefined],
    ['model.layers.1.mlp.up_proj.weight', new AbortController()],
  ])('holds nothing after a failed read of %s', async (name, abort) => {
    const inner = wasmBackend();
    const held = new Set<unknown>();
    const backend: KernelBackend = {
      ...inner,
      async uploadPacked(...rest) {
        const weight = await inner.uploadPacked(...rest);
        held.add(weight);
        return weight;
      },
      release(weight) {
        inner.release(weight);
        held.delete(weight);
      },
    };
    let uploaded = 0;
    const broken = failing(name, () => {
      uploaded = held.size;
      abort?.abort();
      return abort === undefined ? new Error('the disk is gone') : abort.signal.reason;
    });
    await expect(createModel(broken, { backend, signal: abort?.signal })).rejects.toBeDefined();
    expect(uploaded).toBeGreaterThan(0);
    expect(held.size).toBe(0);
    await inner.dispose();
  });
});
