import { type Awaitable, GGML_TYPES, type GgmlType, HalftoneError } from '@halftone/tensor';
import { copyingDecoder, decodeInPlace } from './internal/decode-blocks.js';
import { isRepackedType, type RepackedType } from './internal/stored-types.js';
import type { Machine, WasmRuntime } from './runtime.js';

const WHERE = 'ggmlDecoder';

/** Values of tensors that are stored in ggml blocks. */
export interface GgmlDecoder {
  /** Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS and MXFP4. Others have `decodeGgml` of `@halftone/formats`. */
  supports(type: string): boolean;
  /**
   * Writes the values of all blocks, with ggml's bits: those of `decodeGgml`, but for the payloads of NaN. `out` has as many
   * elements and does not overlap `bytes`. Arrays may be any. An `out` of the runtime's `allocate` is written in place by all
   * threads; for others one thread decodes to a near cache, from which the values are copied.
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
  const inPlace = machine.inTurn(decodeInPlace);
  let copying: ReturnType<typeof copyingDecoder> | undefined;
  return {
    supports: isRepackedType,
    decode(type, bytes, out) {
      machine.checkAlive();
      const kernelType = checkedType(type, bytes, out);
      const home = machine.arenaOf(out);
      if (home !== undefined) return inPlace(machine, home, kernelType, bytes, out);
      copying ??= copyingDecoder(machine.build);
      copying(kernelType, bytes, out);
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
