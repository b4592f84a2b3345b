import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type ByteSource, DTYPES, type DType, packCodes, packedByteLength } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { formatCodecChecks } from '../../src/conformance.js';
import { gguf, llama2c, safetensors } from '../../src/index.js';
import {
  encodeOnnxModel,
  isOnnxCheckpoint,
  type OnnxInitializer,
  type OnnxModel,
  onnx,
  onnxCodec,
} from '../../src/onnx.js';
import {
  expectFailure,
  fillBytes,
  ggufFile,
  llama2cFile,
  memory,
  recording,
  safetensorsFile,
} from '../support/files.js';

const MODEL: OnnxModel = {
  irVersion: 10,
  producerName: 'maker',
  producerVersion: '1.2',
  domain: 'org.example',
  modelVersion: 3,
  docString: 'naïve',
  opsets: new Map([
    ['', 21],
    ['com.microsoft', 1],
  ]),
  metadata: new Map([['config', '{"a":1}']]),
  graph: {
    name: 'g',
    nodes: [
      {
        name: 'n',
        opType: 'MatMulNBits',
        domain: 'com.microsoft',
        inputs: ['x', '', 'w'],
        outputs: ['y'],
        attributes: new Map([
          ['K', { type: 'int', value: 3 }],
          ['minus', { type: 'int', value: -7 }],
          ['large', { type: 'int', value: 2n ** 62n }],
          ['epsilon', { type: 'float', value: 0.5 }],
          ['axes', { type: 'ints', value: [-1, 300] }],
          ['weights', { type: 'floats', value: [1, -0.25] }],
          ['mode', { type: 'string', value: 'tanh' }],
        ]),
      },
    ],
    inputs: [{ name: 'x', dtype: 'f32', shape: ['batch', 3] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['batch', 'rows', 2] }],
  },
};

const DTYPES_OF_ONNX: readonly DType[] = [
  ...(['f32', 'f16', 'bf16', 'f64', 'f8_e4m3', 'f8_e5m2', 'f8_e8m0', 'f4_e2m1'] as const),
  ...(['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64', 'u4', 'i4', 'u2', 'i2', 'bool'] as const),
];

/** Bytes as ONNX has them: elements below 8 bits run on from row to row. */
function raw(name: string, dtype: DType, shape: readonly number[]): OnnxInitializer {
  const count = shape.reduce((product, size) => product * size, 1);
  const data = fillBytes(name, Math.ceil((count * DTYPES[dtype].bits) / 8));
  return { name, dtype, shape, data };
}

const INITIALIZERS = [
  ...DTYPES_OF_ONNX.map((dtype) => raw(dtype, dtype, [3, 8])),
  raw('scalar', 'f32', []),
  raw('empty', 'f16', [0, 4]),
  raw('vector', 'i64', [5]),
  raw('cube', 'u8', [2, 3, 4]),
];

for (const { name, run } of formatCodecChecks(onnx, { file: encodeOnnxModel(MODEL, INITIALIZERS), mutations: 3000 })) {
  it(name, run);
}

/** A model with one tensor, from the fields of its message. */
function tensorFile(write: (writer: BinaryWriter) => void, shape: readonly number[], dataType: number): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(8);
  writer.tag(7, WireType.LengthDelimited).fork();
  writer.tag(5, WireType.LengthDelimited).fork();
  for (const size of shape) writer.tag(1, WireType.Varint).int64(size);
  writer.tag(2, WireType.Varint).int32(dataType);
  writer.tag(8, WireType.LengthDelimited).string('t');
  write(writer);
  writer.join().join();
  return writer.finish();
}

async function readTensor(file: Uint8Array) {
  const tensor = (await onnx.open(memory(file))).tensors.get('t');
  if (tensor === undefined) throw new Error('no tensor');
  return tensor.read();
}

function packedField(
  field: number,
  values: readonly (number | bigint)[],
  kind: 'int32' | 'int64' | 'uint64' | 'float',
) {
  return (writer: BinaryWriter) => {
    writer.tag(field, WireType.LengthDelimited).fork();
    for (const value of values) writer[kind](value as never);
    writer.join();
  };
}

describe('onnx', () => {
  it('reads the graph as it was written', async () => {
    const checkpoint = await onnx.open(memory(encodeOnnxModel(MODEL, INITIALIZERS)));
    expect(isOnnxCheckpoint(checkpoint) && checkpoint.onnx).toEqual(MODEL);
    expect(Object.fromEntries(checkpoint.metadata)).toEqual({
      config: '{"a":1}',
      'onnx.ir_version': 10,
      'onnx.producer_name': 'maker',
      'onnx.producer_version': '1.2',
      'onnx.opset': 21,
      'onnx.opset.com.microsoft': 1,
    });
  });

  it('is not taken for another format, nor another for it', async () => {
    const entries = [{ name: 'w', dtype: 'f32' as const, shape: [2, 2] }];
    for (const file of [await safetensorsFile(entries), await ggufFile(entries), llama2cFile()]) {
      expect(onnx.sniff(file.subarray(0, 64))).toBe(false);
    }
    const head = encodeOnnxModel(MODEL, []).subarray(0, 64);
    for (const codec of [safetensors, gguf, llama2c]) expect(codec.sniff(head)).toBe(false);
    for (let length = 16; length <= 64; length++) expect(onnx.sniff(head.subarray(0, length))).toBe(true);
  });

  it('reads elements of 4 bits whose rows do not end on bytes', async () => {
    const codes = Uint8Array.from({ length: 15 }, (_, i) => (i * 7) % 16);
    const data = packCodes(codes, 4, false, [15]).bytes;
    const file = encodeOnnxModel(MODEL, [{ name: 't', dtype: 'u4', shape: [3, 5], data }]);
    expect(await readTensor(file)).toMatchObject({ dtype: 'u4', bytes: packCodes(codes, 4, false, [3, 5]).bytes });
  });

  it('skips the weights when it opens', async () => {
    const source = recording(
      memory(encodeOnnxModel(MODEL, [raw('a', 'f32', [1000, 1000]), raw('b', 'f32', [1000, 500])])),
    );
    const { tensors } = await onnx.open(source);
    expect([...tensors.keys()]).toEqual(['a', 'b']);
    expect(source.ranges.reduce((sum, [start, end]) => sum + end - start, 0)).toBeLessThan(100_000);
    source.ranges.length = 0;
    await tensors.get('b')?.read({ start: 3, end: 5 });
    expect(source.ranges.map(([start, end]) => end - start)).toEqual([4000]);
  });

  it('reads elements that lie in fields of their type', async () => {
    const bytes = async (file: Uint8Array) => [...(await readTensor(file)).bytes];
    const of = (field: number, type: number, kind: Parameters<typeof packedField>[2], ...values: (number | bigint)[]) =>
      bytes(tensorFile(packedField(field, values, kind), [values.length], type));
    expect(await of(4, 1, 'float', 1, -2)).toEqual([0, 0, 128, 63, 0, 0, 0, 192]);
    expect(await of(5, 6, 'int32', -1, 258)).toEqual([255, 255, 255, 255, 2, 1, 0, 0]);
    expect(await of(5, 3, 'int32', -1, 127)).toEqual([255, 127]);
    expect(await of(5, 2, 'int32', 255, 1)).toEqual([255, 1]);
    expect(await of(5, 10, 'int32', 0x3c00)).toEqual([0, 0x3c]);
    expect(await of(5, 16, 'int32', 0xbf80)).toEqual([0x80, 0xbf]);
    expect(await of(5, 17, 'int32', 0x38)).toEqual([0x38]);
    expect(await of(5, 9, 'int32', 1, 0)).toEqual([1, 0]);
    expect(await of(7, 7, 'int64', -2n)).toEqual([254, ...new Array(7).fill(255)]);
    expect(await of(11, 12, 'uint64', 4294967295)).toEqual([255, 255, 255, 255]);
    expect(await of(11, 13, 'uint64', 2n ** 64n - 1n)).toEqual(new Array(8).fill(255));
    // Two codes in each number.
    expect(await bytes(tensorFile(packedField(5, [0x21, 0x03], 'int32'), [3], 22))).toEqual([0x21, 0x03]);
  });

  it('reads them unpacked and in several runs', async () => {
    const unpacked = (writer: BinaryWriter) => {
      writer.tag(4, WireType.Bit32).float(1);
      writer.tag(4, WireType.Bit32).float(2);
      packedField(4, [3, 4], 'float')(writer);
    };
    expect((await readTensor(tensorFile(unpacked, [2, 2], 1))).bytes).toEqual(
      new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer),
    );
    const numbers = (writer: BinaryWriter) => {
      writer.tag(5, WireType.Varint).int32(-3);
      packedField(5, [9], 'int32')(writer);
    };
    expect((await readTensor(tensorFile(numbers, [2], 3))).bytes).toEqual(Uint8Array.of(253, 9));
  });

  it('refuses data that does not fit the shape', async () => {
    const refused = (write: (writer: BinaryWriter) => void, shape: number[], type: number, ...words: string[]) =>
      expectFailure(() => readTensor(tensorFile(write, shape, type)), 'FORMAT', 't:', ...words);
    const rawData = (length: number) => (writer: BinaryWriter) =>
      void writer.tag(9, WireType.LengthDelimited).bytes(new Uint8Array(length));
    await refused(rawData(7), [2], 1, '8 bytes', '7');
    await refused(rawData(0), [2 ** 40], 1, 'the file has 0');
    await refused(() => {}, [2], 1, 'the file has 0');
    await refused(packedField(5, [1, 2, 3], 'int32'), [2], 3, 'too many');
    await refused(packedField(5, [1], 'int32'), [2], 3, 'too few');
    await refused(packedField(5, [1], 'int32'), [2 ** 30], 3, 'too few');
    await refused(packedField(5, [256], 'int32'), [1], 2, 'too wide');
    await refused(packedField(4, [1, 2, 3], 'float'), [2], 1, '8 bytes', '12');
    await refused(rawData(1), [1], 99, 'unknown');
    await expectFailure(() => readTensor(tensorFile(() => {}, [1], 8)), 'UNSUPPORTED', 'string');
    await expectFailure(() => readTensor(tensorFile(() => {}, [2 ** 40, 2 ** 40], 1)), 'SHAPE', 't:');
  });

  it('refuses two tensors of one name, nameless ones, and what is no model', async () => {
    const twice = encodeOnnxModel(MODEL, [raw('a', 'u8', [1]), raw('a', 'u8', [1])]);
    await expectFailure(() => onnx.open(memory(twice)), 'FORMAT', 'a:', 'two initializers');
    await expectFailure(() => onnx.open(memory(encodeOnnxModel(MODEL, [raw('', 'u8', [1])]))), 'FORMAT', 'no name');
    await expectFailure(() => onnx.open(memory(new Uint8Array(0))), 'FORMAT', 'not an ONNX model');
  });
});

describe('external data', () => {
  const external = (location: string, offset = 4, length = 24): OnnxInitializer => ({
    name: 't',
    dtype: 'f32',
    shape: [3, 2],
    data: { location, offset, length },
  });
  const data = fillBytes('data', 40);

  it('is read from files that are opened once and closed with the model', async () => {
    const opened: string[] = [];
    let closed = 0;
    const openFile = (name: string): ByteSource => {
      opened.push(name);
      return { ...memory(data), close: async () => void closed++ };
    };
    const file = encodeOnnxModel(MODEL, [
      external('sub/model.onnx_data'),
      { ...external('sub/model.onnx_data', 0), name: 'u' },
    ]);
    const checkpoint = await onnxCodec({ openFile }).open(memory(file));
    expect(opened).toEqual([]);
    expect((await checkpoint.tensors.get('t')?.read({ start: 1, end: 2 }))?.bytes).toEqual(data.subarray(12, 20));
    expect((await checkpoint.tensors.get('u')?.read())?.bytes).toEqual(data.subarray(0, 24));
    expect(checkpoint.byteLength).toBe(file.length + 48);
    await checkpoint.close();
    expect(opened).toEqual(['sub/model.onnx_data']);
    expect(closed).toBe(1);
  });

  it('asks for a way to open files', async () => {
    await expectFailure(() => readTensor(encodeOnnxModel(MODEL, [external('d')])), 'IO', 'openFile');
  });

  it('refuses paths that leave the folder', async () => {
    const locations = [
      '',
      '/etc/passwd',
      '../d',
      'a/../../d',
      'a//b',
      './d',
      'C:\\d',
      'C:d',
      '\\\\host\\d',
      'a\u0000b',
    ];
    for (const location of locations) {
      const file = encodeOnnxModel(MODEL, [external(location)]);
      await expectFailure(() => onnx.open(memory(file)), 'FORMAT', 'model');
    }
  });

  it('refuses ranges beyond the file and sizes that do not fit the shape', async () => {
    const codec = onnxCodec({ openFile: () => memory(data) });
    const beyond = await codec.open(memory(encodeOnnxModel(MODEL, [external('d', 20)])));
    await expectFailure(() => beyond.tensors.get('t')?.read(), 'FORMAT', 'cut off');
    await expectFailure(() => codec.open(memory(encodeOnnxModel(MODEL, [external('d', 0, 20)]))), 'FORMAT', '24');
    await expectFailure(() => codec.open(memory(encodeOnnxModel(MODEL, [external('d', -4)]))), 'FORMAT', '-4');
  });

  it('has the byte length that its type and shape give', async () => {
    for (const dtype of DTYPES_OF_ONNX) {
      const checkpoint = await onnx.open(memory(encodeOnnxModel(MODEL, [raw('t', dtype, [4, 8])])));
      expect(checkpoint.tensors.get('t')?.byteLength).toBe(packedByteLength(dtype, [4, 8]));
    }
  });
});
