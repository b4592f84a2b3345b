import { dequantize, encode, isHalftoneError, type QuantizedTensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { safetensors } from '../../src/index.js';
import { withLayouts } from '../../src/layouts.js';
import {
  encodeOnnxModel,
  type OnnxAttribute,
  type OnnxInitializer,
  type OnnxNode,
  onnx,
  onnxLayout,
  packMatMulNBits,
  packQdq,
} from '../../src/onnx.js';
import { expectFailure, memory, safetensorsFile } from '../support/files.js';
import { affine } from './affine-weights.js';
import { smallModel } from './runtimes.js';

type Ints = Readonly<Record<string, number>>;

function nodeOf(opType: string, inputs: readonly string[], attributes: Ints): OnnxNode {
  const entries = Object.entries(attributes);
  return {
    name: 'node',
    opType,
    domain: opType === 'MatMulNBits' ? 'com.microsoft' : '',
    inputs,
    outputs: ['out'],
    attributes: new Map(entries.map(([name, value]): [string, OnnxAttribute] => [name, { type: 'int', value }])),
  };
}

/** The initializers and the node of one MatMulNBits weight. */
function matMulNBits(q: QuantizedTensor, name = 'w', change: Ints = {}, more: readonly string[] = []) {
  const { form, B, scales, zeroPoints } = packMatMulNBits(q);
  const initializers: OnnxInitializer[] = [
    { name: `${name}_Q4`, dtype: 'u8', shape: B.shape, data: B.bytes },
    { name: `${name}_scales`, dtype: 'f32', shape: [form.N, form.blocks], data: scales.bytes },
  ];
  if (zeroPoints) {
    initializers.push({ name: `${name}_zeros`, dtype: 'u8', shape: zeroPoints.shape, data: zeroPoints.bytes });
  }
  const sizes = { K: form.K, N: form.N, bits: form.bits, block_size: form.blockSize, ...change };
  return { initializers, node: nodeOf('MatMulNBits', ['x', ...initializers.map((i) => i.name), ...more], sizes) };
}

function open(nodes: readonly OnnxNode[], initializers: readonly OnnxInitializer[]) {
  return onnx.open(memory(encodeOnnxModel(smallModel(nodes, {}, {}), initializers)));
}

async function weightsOf(nodes: readonly OnnxNode[], initializers: readonly OnnxInitializer[]) {
  return onnxLayout.weights(await open(nodes, initializers));
}

describe('onnxLayout', () => {
  it('joins the inputs of MatMulNBits nodes', async () => {
    for (const zeros of [true, false]) {
      const q = affine({ zeros });
      const { initializers, node } = matMulNBits(q);
      const plain: OnnxInitializer = { name: 'norm', dtype: 'f32', shape: [1], data: new Uint8Array(4) };
      const checkpoint = await withLayouts(await open([node], [...initializers, plain]), { layouts: [onnxLayout] });
      expect([...checkpoint.tensors.keys()]).toEqual(['norm']);
      const weight = checkpoint.quantized?.get('w');
      expect(weight).toMatchObject({ shape: [5, 70], layout: 'onnx', stored: initializers.map(({ name }) => name) });
      const back = (await weight?.read()) as QuantizedTensor;
      expect(back.scheme).toEqual(weight?.scheme);
      expect(dequantize(back)).toEqual(dequantize(q));
    }
  });

  it('joins those of DequantizeLinear nodes, whatever shares a scale', async () => {
    const codes: OnnxInitializer = {
      name: 'w_quantized',
      dtype: 'i8',
      shape: [2, 3],
      data: Uint8Array.of(1, 2, 3, 4, 5, 255),
    };
    const cases: [number[], number[], Ints, number[]][] = [
      [[], [2], {}, [2, 4, 6, 8, 10, -2]],
      [[2], [2, 3], { axis: 0 }, [2, 4, 6, 12, 15, -3]],
      [[2], [2, 3], { axis: -2 }, [2, 4, 6, 12, 15, -3]],
      [[3], [1, 2, 3], {}, [1, 4, 9, 4, 10, -3]],
      [[2, 2], [1, 2, 3, 4], { axis: 1, block_size: 2 }, [1, 2, 6, 12, 15, -4]],
      [[1, 3], [1, 2, 3], { axis: 0, block_size: 2 }, [1, 4, 9, 4, 10, -3]],
    ];
    for (const [shape, values, attributes, expected] of cases) {
      const scales: OnnxInitializer = { name: 's', dtype: 'f32', shape, data: encode(values, 'f32').bytes };
      const weights = await weightsOf([nodeOf('DequantizeLinear', ['w_quantized', 's'], attributes)], [codes, scales]);
      expect([...dequantize((await weights.get('w')?.read()) as QuantizedTensor)]).toEqual(expected);
    }
  });

  it('leaves what it does not know as it is', async () => {
    const codes: OnnxInitializer = { name: 'c', dtype: 'i8', shape: [2, 3], data: new Uint8Array(6) };
    const scales: OnnxInitializer = { name: 's', dtype: 'f32', shape: [5], data: new Uint8Array(20) };
    const nodes = [
      nodeOf('DequantizeLinear', ['c', 's'], {}),
      nodeOf('DequantizeLinear', ['c', 'computed'], {}),
      nodeOf('DequantizeLinear', [], {}),
      nodeOf('MatMulNBits', ['x', 'computed', 's'], {}),
      nodeOf('Add', ['c', 's'], {}),
    ];
    expect((await weightsOf(nodes, [codes, scales])).size).toBe(0);
    expect(onnxLayout.detect(await open(nodes.slice(4), [codes, scales]))).toBe(false);
    const other = await safetensors.open(memory(await safetensorsFile([{ name: 'c', dtype: 'u8', shape: [2, 3] }])));
    expect(onnxLayout.detect(other)).toBe(false);
  });

  it('reads a weight once that two nodes use, and tensors that two weights share', async () => {
    const a = matMulNBits(affine(), 'a');
    const b = matMulNBits(affine(), 'b');
    const shared = { ...b.node, inputs: ['x', 'b_Q4', 'a_scales', 'a_zeros'] };
    const checkpoint = await open([a.node, a.node, shared], [...a.initializers, ...b.initializers.slice(0, 1)]);
    const { quantized } = await withLayouts(checkpoint, { layouts: [onnxLayout] });
    expect([...(quantized?.values() ?? [])].map(({ name, stored }) => [name, stored])).toEqual([
      ['a', ['a_Q4', 'a_scales', 'a_zeros']],
      ['b', ['b_Q4']],
    ]);
    for (const weight of quantized?.values() ?? []) {
      expect(dequantize(await weight.read())).toEqual(dequantize(affine()));
    }
  });

  it('refuses nodes that contradict their tensors', async () => {
    const q = affine();
    const refused = async (code: string, change: Ints, ...words: string[]) => {
      const { initializers, node } = matMulNBits(q, 'w', change);
      await expectFailure(() => weightsOf([node], initializers), code, ...words);
    };
    await refused('FORMAT', { N: 6 }, 'w_Q4', 'does not fit');
    await refused('FORMAT', { K: 2 ** 30, N: 2 ** 30 }, 'w_Q4', 'does not fit');
    await refused('FORMAT', { K: 0 }, 'K');
    await refused('FORMAT', { block_size: 24 }, 'block_size 24');
    await refused('UNSUPPORTED', { bits: 3 }, '3 bits');
    const ordered = matMulNBits(q, 'w', {}, ['g_idx']);
    await expectFailure(() => weightsOf([ordered.node], ordered.initializers), 'UNSUPPORTED', 'g_idx');
    const [codes, scales, zeros] = matMulNBits(q).initializers as [OnnxInitializer, OnnxInitializer, OnnxInitializer];
    const { node } = matMulNBits(q);
    const floatZeros: OnnxInitializer = { ...zeros, dtype: 'f32', shape: [5, 3], data: new Uint8Array(60) };
    await expectFailure(() => weightsOf([node], [codes, scales, floatZeros]), 'UNSUPPORTED', 'f32');
    const wide: OnnxInitializer = { ...codes, dtype: 'u16', shape: [5, 3, 8] };
    await expectFailure(() => weightsOf([node], [wide, scales, zeros]), 'UNSUPPORTED', 'u16');
    const dequantizing = nodeOf('DequantizeLinear', ['c', 's', 'z'], { axis: 0 });
    const misfit: OnnxInitializer[] = [
      { name: 'c', dtype: 'u8', shape: [2, 3], data: new Uint8Array(6) },
      { name: 's', dtype: 'f32', shape: [2], data: new Uint8Array(8) },
      { name: 'z', dtype: 'u8', shape: [3], data: new Uint8Array(3) },
    ];
    await expectFailure(() => weightsOf([dequantizing], misfit), 'FORMAT', 'zero points');
  });

  it('answers damaged models with errors of its own', async () => {
    const { initializers, node } = matMulNBits(affine());
    const { form, codes, scales, zeroPoints } = packQdq(affine({ group: 24, columns: 50 }));
    const inside: OnnxInitializer[] = [
      { name: 'c', dtype: form.dtype, shape: form.shape, data: codes.bytes },
      { name: 's', dtype: 'f32', shape: form.scaleShape, data: scales.bytes },
      { name: 'z', dtype: form.dtype, shape: form.scaleShape, data: zeroPoints?.bytes as Uint8Array },
    ];
    const dequantizing = nodeOf('DequantizeLinear', ['c', 's', 'z'], { axis: 1, block_size: 24 });
    const file = encodeOnnxModel(smallModel([node, dequantizing], {}, {}), [...initializers, ...inside]);
    let state = 1;
    const random = (below: number) => {
      state = (state * 48271) % 0x7fffffff;
      return state % below;
    };
    for (let i = 0; i < 2000; i++) {
      const damaged = file.slice();
      for (let edits = 0; edits < 3; edits++) damaged[random(file.length)] = random(256);
      try {
        const { quantized } = await withLayouts(await onnx.open(memory(damaged)), { layouts: [onnxLayout] });
        for (const weight of quantized?.values() ?? []) dequantize(await weight.read());
      } catch (error) {
        if (!isHalftoneError(error)) throw error;
      }
    }
  });
});
