/** Keys and values of one key/value head over a run of entries, as a cache stores them. */

/** Float16 bits, `[length, headDim]`. */
export interface HalfEntries {
  readonly type: 'f16';
  readonly data: Uint16Array;
}

/**
 * Signed codes with scales: `value = code * scale + offset`.
 *
 * `int8` is a byte a code, `[length, headDim]`. `int4` is two codes from -8 to 7 a byte, the first in the low nibble;
 * every entry starts at a byte, so that it takes `ceil(headDim / 2)` of them. Unsigned codes `u` with a minimum are
 * `code = u - 8` with `offset = minimum + 8 * scale` (for bytes 128).
 */
export interface CodedEntries {
  readonly type: 'int8' | 'int4';
  readonly data: Int8Array | Uint8Array;
  /**
   * `token`: each entry has a scale for every `groupSize` channels, `[length, ceil(headDim / groupSize)]`. `channel`: each channel
   * has one for every `groupSize` entries, `[ceil(length / groupSize), headDim]`; the first run starts at the first entry.
   */
  readonly grouping: 'token' | 'channel';
  /** For `int4` in groups of channels an even number, or `headDim` and more. */
  readonly groupSize: number;
  readonly scales: Float32Array;
  /** Like `scales`. Default: zeros. */
  readonly offsets?: Float32Array;
}

/** A `Float32Array` is `[length, headDim]`. */
export type KvEntries = Float32Array | HalfEntries | CodedEntries;

/** What attention reads for one key/value head; a `KvView` is one. Arrays may be longer than `length` asks for. */
export interface KvSegment {
  readonly length: number;
  readonly keys: KvEntries;
  readonly values: KvEntries;
  /** `[length]`, position in the sequence of each entry, increasing. */
  readonly positions: Int32Array;
}
