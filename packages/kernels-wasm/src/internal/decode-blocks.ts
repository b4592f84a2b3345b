import { GGML_TYPES } from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import { type Arena, arena } from './arena.js';
import { compiledModule, moduleBytes } from './compiled-module.js';
import type { WasmBuild } from './layout.js';
import { DECODE } from './modules/decode.js';
import type { RepackedType } from './stored-types.js';

/** Values decoded at a time where they are copied: a near cache holds them. */
const PIECE_VALUES = 2 ** 14;
/** A block of Q8_0, 34 bytes for 32 values, has the most bytes for its values. */
const PIECE_BYTES = (PIECE_VALUES / 32) * 34;
/** Bytes of blocks that wait in kernel memory. */
const STAGING_BYTES = 8 * 2 ** 20;
/** The page of an arena that nothing is allocated in. */
const PAGE = 65536;
/** Nanoseconds that one thread takes for a value, about. */
const VALUE_COST = 0.25;

/** Decodes to `out` in an arena, with blocks from anywhere. An operation for `inTurn`. */
export function decodeInPlace(
  machine: Machine,
  home: Arena,
  type: RepackedType,
  bytes: Uint8Array,
  out: Float32Array,
): void | Promise<void> {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const blocks = bytes.length / blockBytes;
  const staged = !home.owns(bytes);
  const most = staged ? Math.floor(STAGING_BYTES / blockBytes) : blocks;
  const staging = staged ? home.scratch(Math.min(most, blocks) * blockBytes) : 0;

  const decodePiece = (first: number, count: number): void | Promise<void> => {
    if (staged) home.bytes.set(bytes.subarray(first * blockBytes, (first + count) * blockBytes), staging);
    const { job } = machine;
    job.start(home, machine.compiled(DECODE), `decode${type}`);
    job.stepped(staged ? staging : bytes.byteOffset + first * blockBytes, blockBytes);
    job.stepped(out.byteOffset + 4 * first * blockSize, 4 * blockSize);
    job.count();
    return job.run(count, VALUE_COST * blockSize);
  };
  const decodeFrom = (start: number): void | Promise<void> => {
    for (let first = start; first < blocks; first += most) {
      const pending = decodePiece(first, Math.min(most, blocks - first));
      if (pending !== undefined) return pending.then(() => decodeFrom(first + most));
    }
  };
  return decodeFrom(0);
}

/**
 * Decodes to arrays of the JavaScript heap, on this thread, through a small memory that is not shared: engines copy from
 * shared memories word by word, which takes longer than decoding.
 */
export function copyingDecoder(build: WasmBuild): (type: RepackedType, bytes: Uint8Array, out: Float32Array) => void {
  const own = arena(0, 2 * PAGE + 4 * PIECE_VALUES + PIECE_BYTES, false);
  const kernels = own.kernels(compiledModule(0, moduleBytes(DECODE, build, false)), DECODE);
  const to = own.scratch(4 * PIECE_VALUES + PIECE_BYTES);
  const from = to + 4 * PIECE_VALUES;
  const values = own.floats.subarray(to / 4, from / 4);
  return (type, bytes, out) => {
    const { blockSize, blockBytes } = GGML_TYPES[type];
    const blocks = bytes.length / blockBytes;
    const most = PIECE_VALUES / blockSize;
    for (let first = 0; first < blocks; first += most) {
      const count = Math.min(most, blocks - first);
      own.bytes.set(bytes.subarray(first * blockBytes, (first + count) * blockBytes), from);
      kernels[`decode${type}`](from, to, count);
      out.set(count === most ? values : values.subarray(0, count * blockSize), first * blockSize);
    }
  };
}
