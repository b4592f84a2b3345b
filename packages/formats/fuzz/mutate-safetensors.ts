import { DTYPES, type DType, packedByteLength } from '@halftone/tensor';
import { mutateJson } from './mutate-json.js';
import type { Random } from './random.js';

/** Edits a JSON text. */
export function mutateText(seed: Uint8Array, random: Random): Uint8Array {
  return new TextEncoder().encode(mutateJson(new TextDecoder().decode(seed), random));
}

/** Edits the JSON header and makes its length fit again. */
export function mutateSafetensors(seed: Uint8Array, random: Random): Uint8Array {
  const { header, data } = parts(seed);
  return joined(mutateJson(header, random), data);
}

/**
 * Edits what quantized weights are made of: JSON that stands as text in the metadata, a tensor that is dropped, renamed, filled or
 * gets another type or shape, with a file around it that is in order; else the header.
 */
export function mutateLayoutFile(seed: Uint8Array, random: Random): Uint8Array {
  const chance = random.next();
  if (chance < 0.2) return mutateSafetensors(seed, random);
  const { header, data } = parts(seed);
  const { __metadata__, ...tensors } = JSON.parse(header) as { __metadata__: Record<string, string> };
  const texts = Object.keys(__metadata__).filter((key) => __metadata__[key]?.startsWith('{'));
  if (chance < 0.5 && texts.length > 0) {
    const key = random.pick(texts);
    __metadata__[key] = mutateJson(__metadata__[key] as string, random);
    return joined(JSON.stringify({ __metadata__, ...tensors }), data);
  }
  const stored = Object.entries<TensorHeader>(tensors).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [start, end],
      },
    ]): StoredTensor => {
      return { name, dtype, shape, bytes: data.subarray(start, end) };
    },
  );
  changeTensor(stored, random);
  return withTensors(__metadata__, stored);
}

interface TensorHeader {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

interface StoredTensor {
  readonly name: string;
  /** As safetensors spells it. */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Types of whole bytes, as safetensors spells them. */
const TYPES = new Map<string, DType>(
  (Object.keys(DTYPES) as DType[]).filter((type) => DTYPES[type].bits >= 8).map((type) => [type.toUpperCase(), type]),
);

function changeTensor(tensors: StoredTensor[], random: Random): void {
  const at = random.below(tensors.length);
  const tensor = tensors[at] as StoredTensor;
  const filled = (dtype: string, shape: readonly number[]): StoredTensor => {
    const length = packedByteLength(TYPES.get(dtype) ?? 'u8', shape);
    return { ...tensor, dtype, shape, bytes: new Uint8Array(length).fill(random.below(256)) };
  };
  switch (random.below(5)) {
    case 0:
      tensors.splice(at, 1);
      return;
    case 1:
      tensors[at] = { ...tensor, name: `${tensor.name}x` };
      return;
    case 2:
      tensors[at] = filled(random.pick([...TYPES.keys()]), tensor.shape);
      return;
    case 3: {
      const shape = tensor.shape.map((n) => (random.next() < 0.5 ? n : random.below(2 * n + 2)));
      tensors[at] = filled(TYPES.has(tensor.dtype) ? tensor.dtype : 'U8', shape);
      return;
    }
    default: {
      const bytes = tensor.bytes.slice();
      for (let i = random.below(4); i >= 0 && bytes.length > 0; i--)
        bytes[random.below(bytes.length)] = random.below(256);
      tensors[at] = { ...tensor, bytes };
    }
  }
}

function withTensors(metadata: Record<string, string>, tensors: readonly StoredTensor[]): Uint8Array {
  let at = 0;
  const entries = tensors.map(({ name, dtype, shape, bytes }) => {
    const start = at;
    at += bytes.length;
    return [name, { dtype, shape, data_offsets: [start, at] }];
  });
  const data = new Uint8Array(at);
  at = 0;
  for (const { bytes } of tensors) {
    data.set(bytes, at);
    at += bytes.length;
  }
  return joined(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }), data);
}

function parts(file: Uint8Array): { header: string; data: Uint8Array } {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = 8 + Number(view.getBigUint64(0, true));
  return { header: new TextDecoder().decode(file.subarray(8, end)), data: file.subarray(end) };
}

function joined(header: string, data: Uint8Array): Uint8Array {
  const text = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}
