/** The bytes of ONNX models of one node. Source: onnx.proto (field numbers), the ONNX Runtime operator MatMulNBits. */

const FLOAT = 1;
const UINT8 = 2;
const INTEGER_ATTRIBUTE = 2;

/** `y = x w^T` for 4-bit weights in blocks of 32 along the input, `[rows, size] x [size, size]`. */
export function matMulNBitsModel(size: number, codes: Uint8Array, scales: Float32Array): Uint8Array {
  const attributes = { K: size, N: size, bits: 4, block_size: 32, accuracy_level: 4 };
  const node = [
    ...['x', 'codes', 'scales'].map((name) => text(1, name)),
    text(2, 'y'),
    text(4, 'MatMulNBits'),
    ...Object.entries(attributes).map(([name, value]) =>
      message(5, [text(1, name), integer(3, value), integer(20, INTEGER_ATTRIBUTE)]),
    ),
    text(7, 'com.microsoft'),
  ];
  const graph = [
    message(1, node),
    text(2, 'product'),
    message(5, initializer('codes', UINT8, [size, size / 32, 16], codes)),
    message(5, initializer('scales', FLOAT, [(size * size) / 32], new Uint8Array(scales.buffer))),
    message(11, value('x', size)),
    message(12, value('y', size)),
  ];
  const operatorSet = (domain: string, version: number) => message(8, [text(1, domain), integer(2, version)]);
  const irVersion = integer(1, 9);
  return bytes([irVersion, message(7, graph), operatorSet('', 17), operatorSet('com.microsoft', 1)]);
}

function initializer(name: string, type: number, shape: readonly number[], data: Uint8Array): Uint8Array[] {
  return [...shape.map((size) => integer(1, size)), integer(2, type), text(8, name), field(9, data)];
}

/** A float matrix of any number of rows. */
function value(name: string, columns: number): Uint8Array[] {
  const shape = [message(1, [text(2, 'rows')]), message(1, [integer(1, columns)])];
  return [text(1, name), message(2, [message(1, [integer(1, FLOAT), message(2, shape)])])];
}

function message(number: number, parts: readonly Uint8Array[]): Uint8Array {
  return field(number, bytes(parts));
}

function text(number: number, content: string): Uint8Array {
  return field(number, new TextEncoder().encode(content));
}

function field(number: number, content: Uint8Array): Uint8Array {
  return bytes([varint(number * 8 + 2), varint(content.length), content]);
}

function integer(number: number, content: number): Uint8Array {
  return bytes([varint(number * 8), varint(content)]);
}

function varint(content: number): Uint8Array {
  const digits: number[] = [];
  for (let left = content; left > 127; left = Math.floor(left / 128)) digits.push((left % 128) + 128);
  return Uint8Array.of(...digits, Math.floor(content / 128 ** digits.length));
}

function bytes(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
