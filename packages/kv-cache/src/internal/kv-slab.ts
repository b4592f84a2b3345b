import type { KvView } from '@halftone/tensor';

/** Growth doubles up to this many more entries, then goes on in steps of it: bounded waste for long sequences. */
const MAX_GROWTH = 8192;
const MIN_GROWTH = 16;

/** Contiguous keys, values and positions of one layer and head. */
export class KvSlab {
  readonly headDim: number;
  length = 0;
  keys: Float32Array;
  values: Float32Array;
  positions: Int32Array;

  constructor(headDim: number, capacity: number) {
    this.headDim = headDim;
    this.keys = new Float32Array(capacity * headDim);
    this.values = new Float32Array(capacity * headDim);
    this.positions = new Int32Array(capacity);
  }

  get bytesPerEntry(): number {
    return 2 * this.headDim * Float32Array.BYTES_PER_ELEMENT + Int32Array.BYTES_PER_ELEMENT;
  }

  /** Row `t` of the head starts at `t * stride + offset` of `keys` and `values`. */
  append(
    keys: Float32Array,
    values: Float32Array,
    positions: Int32Array,
    offset: number,
    stride: number,
    maxLength: number,
  ): void {
    const { headDim } = this;
    this.reserve(this.length + positions.length, maxLength);
    let to = this.length * headDim;
    for (let token = 0, from = offset; token < positions.length; token++, from += stride, to += headDim) {
      for (let i = 0; i < headDim; i++) {
        this.keys[to + i] = keys[from + i];
        this.values[to + i] = values[from + i];
      }
    }
    this.positions.set(positions, this.length);
    this.length += positions.length;
  }

  view(): KvView {
    const { length, headDim } = this;
    return {
      length,
      keys: this.keys.subarray(0, length * headDim),
      values: this.values.subarray(0, length * headDim),
      positions: this.positions.subarray(0, length),
    };
  }

  /** `entries` are increasing indices below `length`. */
  retain(entries: ArrayLike<number>): void {
    const { headDim } = this;
    for (let to = 0; to < entries.length; to++) {
      const from = entries[to];
      this.keys.copyWithin(to * headDim, from * headDim, (from + 1) * headDim);
      this.values.copyWithin(to * headDim, from * headDim, (from + 1) * headDim);
      this.positions[to] = this.positions[from];
    }
    this.length = entries.length;
  }

  copy(): KvSlab {
    const copy = new KvSlab(this.headDim, this.length);
    const { keys, values, positions } = this.view();
    copy.keys.set(keys);
    copy.values.set(values);
    copy.positions.set(positions);
    copy.length = this.length;
    return copy;
  }

  private reserve(length: number, maxLength: number): void {
    const capacity = this.positions.length;
    if (length <= capacity) return;
    const growth = Math.min(Math.max(capacity, MIN_GROWTH), MAX_GROWTH);
    const next = Math.max(length, Math.min(capacity + growth, maxLength));
    const { keys, values, positions } = this.view();
    this.keys = new Float32Array(next * this.headDim);
    this.values = new Float32Array(next * this.headDim);
    this.positions = new Int32Array(next);
    this.keys.set(keys);
    this.values.set(values);
    this.positions.set(positions);
  }
}

/** Index of the first of `length` increasing positions that is at least `position`. */
export function firstAtOrAfter(positions: Int32Array, length: number, position: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (positions[middle] < position) low = middle + 1;
    else high = middle;
  }
  return low;
}
