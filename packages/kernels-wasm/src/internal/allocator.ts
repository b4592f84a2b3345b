/** Addresses are multiples of this: a cache line. */
export const ALIGNMENT = 64;

interface Range {
  start: number;
  end: number;
}

/** First-fit allocation of address ranges, with neighbours joined when freed. Holds no memory itself. */
export interface Allocator {
  /** The start of a free range of so many bytes that ends at or before `limit`; undefined when there is none. */
  allocate(byteLength: number, limit: number): number | undefined;
  free(start: number): void;
}

export function allocator(first: number): Allocator {
  const free: Range[] = [{ start: align(first), end: Number.POSITIVE_INFINITY }];
  const taken = new Map<number, number>();
  return {
    allocate(byteLength, limit) {
      const size = align(Math.max(1, byteLength));
      const at = free.findIndex(({ start, end }) => end - start >= size && start + size <= limit);
      if (at < 0) return undefined;
      const range = free[at];
      const { start } = range;
      range.start += size;
      if (range.start === range.end) free.splice(at, 1);
      taken.set(start, start + size);
      return start;
    },
    free(start) {
      const end = taken.get(start);
      if (end === undefined) return;
      taken.delete(start);
      const at = free.findIndex((range) => range.start >= end);
      const next = free[at];
      const previous = free[at - 1];
      if (previous?.end === start && next.start === end) {
        previous.end = next.end;
        free.splice(at, 1);
      } else if (previous?.end === start) previous.end = end;
      else if (next.start === end) next.start = start;
      else free.splice(at, 0, { start, end });
    },
  };
}

function align(value: number): number {
  return Math.ceil(value / ALIGNMENT) * ALIGNMENT;
}
