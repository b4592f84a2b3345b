import { type Awaitable, GGML_TYPES, type GgmlType, HalftoneError } from '@halftone/tensor';
import type { Arena } from './internal/arena.js';
import { DECODE } from './internal/modules/decode.js';
import { isRepackedType, type RepackedType } from './internal/stored-types.js';
import type { Machine, WasmRuntime } from './runtime.js';

/** Values decoded at a time where they are copied: both copies are then in a near cache. */
const PIECE_VALUES = 2 ** 17;
/** Nanoseconds that one thread takes for a value, about. */
const VALUE_COST = 0.2;
const WHERE = 'ggmlDecoder';

/** Values of tensors that are stored in ggml blocks. */
export interface GgmlDecoder {
  /** Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS and MXFP4. Others have `decodeGgml` of `@halftone/formats`. */
  supports(type: string): boolean;
  /**
   * Writes the values of all blocks, with ggml's bits: those of `decodeGgml`, but for the payloads of NaN. `out` has as many
   * elements and does not overlap `bytes`. Arrays may be any; those of the runtime's `allocate` and views of their memory spare
   * copies, and only values that stay there become faster with threads.
   *
   * Returns a promise on a page's main thread where it takes several threads. Throws `UNSUPPORTED` for a type without a kernel,
   * `SHAPE` for part of a block or an `out` that does not fit, `DEVICE` when memory runs out or after `dispose`.
   */
  decode(type: GgmlType, bytes: Uint8Array, out: Float32Array): Awaitable<void>;
}

/** Decodes ggml blocks in WebAssembly. Throws `RANGE` for a runtime that `wasmRuntime` did not make. */
export function ggmlDecoder(runtime: WasmRuntime): GgmlDecoder {
  if (!('job' in runtime)) throw new HalftoneError('RANGE', 'this is not a runtime of wasmRuntime', { where: WHERE });
  const machine = runtime as Machine;
  const decodeInTurn = machine.inTurn(decodePieces);
  return {
    supports: isRepackedType,
    decode(type, bytes, out) {
      machine.checkAlive();
      return decodeInTurn(machine, checkedType(type, bytes, out), bytes, out);
    },
  };
}

function checkedType(type: string, bytes: Uint8Array, out: Float32Array): RepackedType {
  if (!isRepackedType(type)) {
    throw new HalftoneError('UNSUPPORTED', `there is no kernel for ${type}; use decodeGgml of @halftone/formats`, {
      where: WHERE,
      details: { type },
    });
  }
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const expected = (bytes.length / blockBytes) * blockSize;
  if (out.length !== expected || bytes.length % blockBytes !== 0) {
    throw new HalftoneError(
      'SHAPE',
      `${bytes.length} bytes in blocks of ${blockBytes} are ${expected} values, out has ${out.length}`,
      { where: WHERE, details: { type, byteLength: bytes.length, expected, actual: out.length } },
    );
  }
  return type;
}

/** Where neither array lies in the arena that the kernel works in, pieces go through its scratch memory. */
function decodePieces(
  machine: Machine,
  type: RepackedType,
  bytes: Uint8Array,
  out: Float32Array,
): void | Promise<void> {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const blocks = bytes.length / blockBytes;
  const arena = machine.arenaOf(out) ?? machine.arenaOf(bytes) ?? anyArena(machine);
  const [outCopied, bytesCopied] = [!arena.owns(out), !arena.owns(bytes)];
  const piece = outCopied || bytesCopied ? Math.ceil(PIECE_VALUES / blockSize) : blocks;
  const outBytes = outCopied ? 4 * blockSize * piece : 0;
  const scratch = outCopied || bytesCopied ? arena.scratch(outBytes + blockBytes * piece) : 0;

  const decodePiece = (first: number, count: number): void | Promise<void> => {
    const from = bytesCopied ? scratch + outBytes : bytes.byteOffset + first * blockBytes;
    if (bytesCopied) arena.bytes.set(bytes.subarray(first * blockBytes, (first + count) * blockBytes), from);
    const to = outCopied ? scratch : out.byteOffset + 4 * first * blockSize;
    const { job } = machine;
    job.start(arena, machine.compiled(DECODE), `decode${type}`);
    job.stepped(from, blockBytes);
    job.stepped(to, 4 * blockSize);
    job.count();
    return job.run(count, VALUE_COST * blockSize);
  };
  const copyBack = (first: number, count: number) => {
    if (outCopied) out.set(arena.floats.subarray(scratch / 4, scratch / 4 + count * blockSize), first * blockSize);
  };
  const decodeFrom = (start: number): void | Promise<void> => {
    for (let first = start; first < blocks; first += piece) {
      const count = Math.min(piece, blocks - first);
      const pending = decodePiece(first, count);
      if (pending !== undefined) {
        return pending.then(() => {
          copyBack(first, count);
          return decodeFrom(first + piece);
        });
      }
      copyBack(first, count);
    }
  };
  return decodeFrom(0);
}

/** The first one with room for a little. */
function anyArena(machine: Machine): Arena {
  const [arena, address] = machine.place(16);
  arena.free(address);
  return arena;
}
