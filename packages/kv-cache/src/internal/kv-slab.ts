import type { KernelMemory, KvView } from '@halftone/tensor';

/** Growth doubles up to this many more entries, then goes on in steps of it: bounded waste for long sequences. */
const MAX_GROWTH = 8192;
const MIN_GROWTH = 16;

/** Contiguous keys, values and positions of one layer and head: the view of itself, so that a view costs nothing. */
export class KvSlab implements KvView {
  readonly headDim: number;
  readonly memory: KernelMemory;
  length = 0;
  keys: Float32Array = new Float32Array(0);
  values: Float32Array = new Float32Array(0);
  positions: Int32Array = new Int32Array(0);

  constructor(headDim: number, memory: KernelMemory) {
    this.headDim = headDim;
    this.memory = memory;
  }

  get capacity(): number {
    return this.positions.length;
  }

  get bytesPerEntry(): number {
    return 2 * this.headDim * Float32Array.BYTES_PER_ELEMENT + Int32Array.BYTES_PER_ELEMENT;
  }

  /** Row `t` of the head starts at `t * stride + offset` of `keys` and `values`. There must be room. */
  append(keys: Float32Array, values: Float32Array, positions: Int32Array, offset: number, stride: number): void {
    const { headDim } = this;
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

  /** Makes room for `length` entries, and some more. When there is no memory, all stays as it was. */
  reserve(length: number, maxLength: number): void {
    const { capacity } = this;
    if (length <= capacity) return;
    const growth = Math.min(Math.max(capacity, MIN_GROWTH), MAX_GROWTH);
    this.resize(Math.max(length, Math.min(capacity + growth, maxLength)));
  }

  /** A copy without unused room, in the same memory. */
  copy(): KvSlab {
    const copy = new KvSlab(this.headDim, this.memory);
    if (this.length > 0) copy.resize(this.length);
    copy.append(this.keys, this.values, this.positions.subarray(0, this.length), 0, this.headDim);
    return copy;
  }

  /** Gives the memory back and is empty. */
  dispose(): void {
    this.length = 0;
    this.replace(new Float32Array(0), new Float32Array(0), 0);
  }

  /** Changes the room, which must be enough for the entries. */
  resize(capacity: number): void {
    const count = this.length * this.headDim;
    const keys = this.memory.allocate(capacity * this.headDim);
    let values: Float32Array;
    try {
      values = this.memory.allocate(capacity * this.headDim);
    } catch (error) {
      this.memory.free(keys);
      throw error;
    }
    keys.set(this.keys.subarray(0, count));
    values.set(this.values.subarray(0, count));
    this.replace(keys, values, capacity);
  }

  private replace(keys: Float32Array, values: Float32Array, capacity: number): void {
    this.memory.free(this.keys);
    this.memory.free(this.values);
    const positions = new Int32Array(capacity);
    positions.set(this.positions.subarray(0, this.length));
    this.keys = keys;
    this.values = values;
    this.positions = positions;
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
