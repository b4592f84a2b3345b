import {
  type ByteSource,
  type Checkpoint,
  DTYPES,
  elementCount,
  type FormatCodec,
  GGML_TYPES,
  isGgmlType,
  isHalftoneError,
  type LazyTensor,
  type PackedTensor,
  packedByteLength,
  type RowRange,
} from '@halftone/tensor';
import { arrayBufferSource } from './memory-source.js';

/** One check of a conformance kit. `run` throws an `Error` that says what differs. Runs in any test runner. */
export interface ConformanceCheck {
  readonly name: string;
  run(): Promise<void>;
}

export interface FormatCodecCheckOptions {
  /** Bytes of a small valid file (up to some 100 kB) with at least one tensor of two dimensions. */
  readonly file: Uint8Array;
  /** Damaged copies of the file that are tried. Default 500. */
  readonly mutations?: number;
}

/** Checks that every `FormatCodec` must pass: recognising, opening, row ranges, independence of results, damaged files. */
export function formatCodecChecks(codec: FormatCodec, options: FormatCodecCheckOptions): ConformanceCheck[] {
  const { file, mutations = 500 } = options;
  const open = () => codec.open(arrayBufferSource(file, 'conformance'));
  const check = (name: string, run: () => Promise<void>): ConformanceCheck => ({ name: `${codec.name}: ${name}`, run });

  return [
    check('recognises its file by the first 16 and 64 bytes, and nothing in zeros', async () => {
      for (const length of [16, 64]) equal(codec.sniff(file.slice(0, length)), true, `sniff of ${length} bytes`);
      for (const length of [0, 1, 16, 64])
        equal(codec.sniff(new Uint8Array(length)), false, `sniff of ${length} zeros`);
    }),
    check('lists tensors that agree with themselves', async () => {
      const checkpoint = await open();
      equal(checkpoint.byteLength, file.length, 'byteLength');
      equal(checkpoint.tensors.size > 0, true, 'has tensors');
      let total = 0;
      for (const [name, tensor] of checkpoint.tensors) {
        equal(tensor.kind, 'lazy', `${name}: kind`);
        equal(tensor.name, name, 'name of a tensor against its key');
        equal(tensor.byteLength >= 0, true, `${name}: byteLength is not negative`);
        total += tensor.byteLength;
      }
      equal(total <= file.length, true, 'tensors fit in the file');
    }),
    check('reads whole tensors of the size that type and shape give', async () => {
      for (const tensor of (await open()).tensors.values()) checkPacked(tensor, await tensor.read(), tensor.shape);
    }),
    check('reads row ranges as they are in the whole', async () => {
      for (const tensor of (await open()).tensors.values()) {
        const whole = await tensor.read();
        for (const rows of sampleRanges(tensor)) {
          const part = await tensor.read(rows);
          const shape = tensor.shape.length === 0 ? [] : [rows.end - rows.start, ...tensor.shape.slice(1)];
          checkPacked(tensor, part, shape);
          const before = packedByteLength(tensor.dtype, [rows.start, ...tensor.shape.slice(1)]);
          const expected = whole.bytes.subarray(before, before + part.bytes.length);
          equal(
            sameBytes(part.bytes, expected),
            true,
            `${tensor.name}: rows [${rows.start}, ${rows.end}) equal the whole's`,
          );
        }
      }
    }),
    check('reads into a given array', async () => {
      for (const tensor of (await open()).tensors.values()) {
        const { bytes } = await tensor.read();
        const into = new Uint8Array(bytes.length + 2).subarray(1, bytes.length + 1);
        const part = await tensor.read(undefined, { into });
        checkPacked(tensor, part, tensor.shape);
        equal(sameBytes(part.bytes, bytes), true, `${tensor.name}: bytes read into an array`);
      }
    }),
    check('gives results that later changes do not reach', async () => {
      for (const tensor of (await open()).tensors.values()) {
        const first = await tensor.read();
        const copy = first.bytes.slice();
        first.bytes.fill(0xa5);
        equal(
          sameBytes((await tensor.read()).bytes, copy),
          true,
          `${tensor.name}: second read after the first was changed`,
        );
      }
    }),
    check('refuses rows outside a tensor', async () => {
      for (const tensor of (await open()).tensors.values()) {
        const rows = tensor.shape[0] ?? 1;
        for (const range of [
          { start: -1, end: 1 },
          { start: 0, end: rows + 1 },
          { start: 1, end: 0 },
          { start: 0.5, end: 1 },
        ]) {
          await rejects(() => tensor.read(range), `${tensor.name}: rows [${range.start}, ${range.end})`);
        }
      }
    }),
    check('stops when the signal has fired', async () => {
      const error = await failure(() => codec.open(arrayBufferSource(file), { signal: AbortSignal.abort() }));
      equal(isHalftoneError(error) && error.code, 'ABORTED', 'code of the error of an aborted open');
    }),
    check('closes its source', async () => {
      let closed = 0;
      const source: ByteSource = { ...arrayBufferSource(file), close: async () => void closed++ };
      await (await codec.open(source)).close();
      equal(closed, 1, 'calls of close');
    }),
    check('answers every truncation with a HalftoneError or a readable checkpoint', async () => {
      const step = Math.max(1, Math.floor(file.length / 500));
      for (let length = 0; length < file.length; length += length < 200 ? 1 : step) {
        await survives(codec, file.subarray(0, length), `the first ${length} bytes`);
      }
    }),
    check('answers every mutation with a HalftoneError or a readable checkpoint', async () => {
      const random = lehmer(1);
      for (let i = 0; i < mutations; i++) await survives(codec, mutate(file, random), `mutation ${i}`);
    }),
  ];
}

async function survives(codec: FormatCodec, bytes: Uint8Array, what: string): Promise<void> {
  let largest = 0;
  const memory = arrayBufferSource(bytes);
  const source: ByteSource = {
    ...memory,
    async read(start, end, options) {
      largest = Math.max(largest, end - start);
      return memory.read(start, end, options);
    },
  };
  const error = await failure(async () => {
    codec.sniff(bytes.subarray(0, 64));
    await readAll(await codec.open(source));
  });
  if (error !== undefined && !isHalftoneError(error)) {
    throw new Error(`${what}: threw ${String(error)}, expected a HalftoneError`, { cause: error });
  }
  equal(largest <= bytes.length, true, `${what}: reads stay inside the file`);
}

async function readAll(checkpoint: Checkpoint): Promise<void> {
  for (const tensor of checkpoint.tensors.values()) checkPacked(tensor, await tensor.read(), tensor.shape);
}

function checkPacked(tensor: LazyTensor, packed: PackedTensor, shape: readonly number[]): void {
  equal(packed.kind, 'packed', `${tensor.name}: kind of what was read`);
  equal(packed.dtype, tensor.dtype, `${tensor.name}: dtype of what was read`);
  equal(String(packed.shape), String(shape), `${tensor.name}: shape of what was read`);
  equal(packed.bytes.length, packedByteLength(tensor.dtype, shape), `${tensor.name}: bytes of what was read`);
}

/** Ranges at both ends and in the middle; of vectors only such as keep whole bytes and blocks. */
function sampleRanges({ dtype, shape }: LazyTensor): RowRange[] {
  if (shape.length === 0) return [{ start: 0, end: 1 }];
  const rows = shape[0] as number;
  if (elementCount(shape) === 0) return [{ start: 0, end: rows }];
  const block = isGgmlType(dtype) ? GGML_TYPES[dtype].blockSize : DTYPES[dtype].bits < 8 ? 8 : 1;
  const unit = shape.length === 1 ? block : 1;
  const units = Math.floor(rows / unit);
  const ranges = [
    [0, Math.min(1, units)],
    [Math.floor(units / 3), Math.ceil((units * 2) / 3)],
    [Math.max(0, units - 1), units],
  ] as const;
  return [...ranges.map(([start, end]) => ({ start: start * unit, end: end * unit })), { start: 0, end: rows }];
}

function mutate(file: Uint8Array, random: () => number): Uint8Array {
  let bytes = file.slice();
  const edits = 1 + Math.floor(random() * 4);
  // Headers decide; most edits go there.
  const reach = random() < 0.8 ? Math.min(bytes.length, 1024) : bytes.length;
  for (let i = 0; i < edits; i++) {
    const at = Math.floor(random() * reach);
    const kind = Math.floor(random() * 5);
    if (kind === 0) bytes[at] = Math.floor(random() * 256);
    else if (kind === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    else if (kind === 2) bytes.fill(0xff, at, at + 1 + Math.floor(random() * 8));
    else if (kind === 3) bytes.fill(0, at, at + 1 + Math.floor(random() * 8));
    else bytes = bytes.slice(0, Math.max(1, bytes.length - Math.floor(random() * 64)));
  }
  return bytes;
}

/** Park and Miller's minimal generator: the same mutations in every run. */
function lehmer(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 0x7fffffff;
    return state / 0x7fffffff;
  };
}

async function failure(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return error;
  }
}

async function rejects(work: () => Promise<unknown>, what: string): Promise<void> {
  const error = await failure(work);
  if (!isHalftoneError(error)) throw new Error(`${what}: expected a HalftoneError, got ${String(error)}`);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function equal<T>(actual: T, expected: T, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${String(actual)}, expected ${String(expected)}`);
}
