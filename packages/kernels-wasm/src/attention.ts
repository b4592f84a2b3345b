import type { AttentionShape } from '@halftone/tensor';
import type { AttentionPartials } from './attention-partials.js';
import { attentionOperations } from './internal/attend.js';
import { ATTENTION } from './internal/modules/attention.js';
import type { KvSegment } from './kv-segment.js';
import type { Machine, WasmRuntime } from './runtime.js';

/**
 * Causal softmax attention over keys and values as a cache stores them. Each method returns when its output is written, or a
 * promise where the runtime may not wait.
 */
export interface Attention {
  /**
   * `query` and `out` are `[positions.length, heads * headDim]` row-major; `segment(kvHead)` gives the entries of a key/value
   * head. A query at position `p` sees entries at positions in `(p - window, p]`; one that sees none gets zeros.
   */
  attend(
    shape: AttentionShape,
    query: Float32Array,
    positions: Int32Array,
    segment: (kvHead: number) => KvSegment,
    out: Float32Array,
  ): void | Promise<void>;
  /**
   * The same over some of the entries, before the division: overwrites `partials`. Pages, tiers of different storage and parts
   * of a long context are attended to one after the other and combined by `mergePartials`, then `finishPartials`.
   */
  attendPartial(
    shape: AttentionShape,
    query: Float32Array,
    positions: Int32Array,
    segment: (kvHead: number) => KvSegment,
    partials: AttentionPartials,
  ): void | Promise<void>;
}

/**
 * Attention kernels of a runtime. Keys and values in kernel memory are read in place, in the memory that holds the first head's
 * keys; others are copied there for the call. All segments of a call are held until it is done. Stored codes and float16 are
 * decoded a tile of 64 entries at a time, never the whole cache. Results do not depend on the number of threads.
 *
 * For values of unit variance, results are within 1e-5 of the formula in float64 (scores, softmax and sums are in float32). Where
 * at most 4 query vectors share codes with scales by token, in groups of a multiple of 16 channels, queries and weights are
 * rounded to 16 bits: within 2e-4, 1e-5 in the root mean square. NaN and infinities that a query sees make its result NaN or
 * infinite; those that it must not see do not touch it. Scores that overflow in float32 make it NaN.
 *
 * Throws `SHAPE` for arrays that are too short or heads that do not divide, `RANGE` for a window or a group size that makes no
 * sense, `DTYPE` for an unknown storage type, `DEVICE` after the runtime was disposed of or when a copy finds no room.
 *
 * Sources: arXiv 1805.02867 (online softmax), arXiv 2205.14135 (tiles), arXiv 2405.10480 (splits of a long context).
 */
export function attention(runtime: WasmRuntime): Attention {
  const machine = runtime as Machine;
  const { attend, attendPartial } = attentionOperations(machine, ATTENTION);
  return { attend: machine.inTurn(attend), attendPartial: machine.inTurn(attendPartial) };
}
