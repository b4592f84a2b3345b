import { HalftoneError, type KernelMemory, type KvCache, type KvShape } from '@halftone/tensor';
import { firstAtOrAfter, KvSlab } from './internal/kv-slab.js';

export interface FullCacheOptions {
  /** Tokens that every head has room for from the start. Default 0. */
  readonly capacity?: number;
  /** Most tokens a head may hold; `append` refuses more. Default: no limit. */
  readonly maxLength?: number;
  /** Where keys and values are kept, for example `backend.block`. Default: the JavaScript heap. */
  readonly memory?: KernelMemory;
}

const HEAP: KernelMemory = {
  allocate: (length) => new Float32Array(length),
  free() {},
};

/** A cache of every token in float32. */
export interface FullCache extends KvCache {
  /** Bytes of the buffers, unused room included. */
  readonly allocatedByteLength: number;
  /** An independent copy in the same memory; tokens appended to one are not seen by the other. Costs `byteLength` bytes. */
  fork(): FullCache;
  /**
   * Keeps only these entries of one head, by index, in increasing order. Lengths become ragged over heads.
   * Throws `RANGE` for indices that are not increasing or outside the head.
   */
  retain(layer: number, kvHead: number, entries: ArrayLike<number>): void;
  /** Gives the memory back. The cache is empty then, and may be used again. */
  dispose(): void;
}

const WHERE = 'fullCache';

/**
 * Keeps all keys and values of one sequence in float32: `layers * kvHeads * (8 * headDim + 4)` bytes a token.
 *
 * Every layer and head has its own contiguous buffers, which double while small and later grow by a bounded step.
 * A failed `append` leaves the cache as it was. Views are of the buffers themselves, which are longer than what they hold, and
 * cost nothing. Throws what `memory` throws when there is no room, `SHAPE` for a shape or array of the wrong size, `RANGE` for a layer,
 * head, position or length that is not allowed.
 */
export function fullCache(shape: KvShape, options: FullCacheOptions = {}): FullCache {
  const { layers, kvHeads, headDim } = shape;
  for (const [name, value] of Object.entries({ layers, kvHeads, headDim })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new HalftoneError('SHAPE', `${name} is ${value}; it must be a whole number from 1`, {
        where: WHERE,
        details: { ...shape },
      });
    }
  }
  const { capacity = 0, maxLength = Number.POSITIVE_INFINITY, memory = HEAP } = options;
  if (!Number.isSafeInteger(capacity) || capacity < 0 || !(maxLength >= 1) || capacity > maxLength) {
    throw new HalftoneError(
      'RANGE',
      `capacity is ${capacity} and maxLength ${maxLength}; capacity must be a whole number from 0 to maxLength`,
      { where: WHERE, details: { capacity, maxLength } },
    );
  }
  const slabs = Array.from({ length: layers * kvHeads }, () => new KvSlab(headDim, memory));
  allOrNone(slabs, () => {
    if (capacity > 0) for (const slab of slabs) slab.resize(capacity);
  });
  return build({ layers, kvHeads, headDim }, maxLength, slabs, new Float64Array(layers).fill(-1));
}

/** `lastPositions[layer]` is the position after which the layer continues, -1 when it is empty. */
function build(shape: KvShape, maxLength: number, slabs: KvSlab[], lastPositions: Float64Array): FullCache {
  const { layers, kvHeads, headDim } = shape;
  const width = kvHeads * headDim;

  function checkLayer(layer: number): void {
    if (!Number.isInteger(layer) || layer < 0 || layer >= layers) {
      throw new HalftoneError('RANGE', `layer ${layer} is outside 0 .. ${layers - 1}`, {
        where: WHERE,
        details: { layer, layers },
      });
    }
  }

  function slab(layer: number, kvHead: number): KvSlab {
    checkLayer(layer);
    if (!Number.isInteger(kvHead) || kvHead < 0 || kvHead >= kvHeads) {
      throw new HalftoneError('RANGE', `key/value head ${kvHead} is outside 0 .. ${kvHeads - 1}`, {
        where: WHERE,
        details: { layer, kvHead, kvHeads },
      });
    }
    return slabs[layer * kvHeads + kvHead];
  }

  function checkPositions(layer: number, positions: Int32Array): void {
    let last = lastPositions[layer];
    for (let token = 0; token < positions.length; token++) {
      const position = positions[token];
      if (position <= last) {
        throw new HalftoneError(
          'RANGE',
          last < 0
            ? `layer ${layer}: position ${position} is negative`
            : `layer ${layer}: position ${position} does not come after ${last}; truncate the cache before writing there again`,
          { where: WHERE, details: { layer, token, position, last } },
        );
      }
      last = position;
    }
  }

  return {
    layers,
    kvHeads,
    headDim,

    append(layer, keys, values, positions) {
      checkLayer(layer);
      const tokens = positions.length;
      if (keys.length !== tokens * width || values.length !== tokens * width) {
        throw new HalftoneError(
          'SHAPE',
          `layer ${layer}: ${tokens} tokens of ${kvHeads} heads of ${headDim} need ${tokens * width} values, ` +
            `but keys has ${keys.length} and values ${values.length}`,
          { where: WHERE, details: { layer, tokens, kvHeads, headDim, keys: keys.length, values: values.length } },
        );
      }
      if (tokens === 0) return;
      checkPositions(layer, positions);
      const first = layer * kvHeads;
      for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
        const length = slabs[first + kvHead].length + tokens;
        if (length > maxLength) {
          throw new HalftoneError('RANGE', `layer ${layer}: ${length} tokens exceed maxLength ${maxLength}`, {
            where: WHERE,
            details: { layer, kvHead, length, maxLength },
          });
        }
      }
      // All heads first: when there is no room for one, none has changed.
      for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
        slabs[first + kvHead].reserve(slabs[first + kvHead].length + tokens, maxLength);
      }
      for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
        slabs[first + kvHead].append(keys, values, positions, kvHead * headDim, width);
      }
      lastPositions[layer] = positions[tokens - 1];
    },

    view: slab,
    length: (layer, kvHead) => slab(layer, kvHead).length,

    truncate(position) {
      if (!Number.isInteger(position) || position < 0) {
        throw new HalftoneError('RANGE', `position ${position} is not a whole number from 0`, {
          where: WHERE,
          details: { position },
        });
      }
      for (const each of slabs) each.length = firstAtOrAfter(each.positions, each.length, position);
      for (let layer = 0; layer < layers; layer++) lastPositions[layer] = Math.min(lastPositions[layer], position - 1);
    },

    clear() {
      for (const each of slabs) each.length = 0;
      lastPositions.fill(-1);
    },

    retain(layer, kvHead, entries) {
      const target = slab(layer, kvHead);
      let last = -1;
      for (let i = 0; i < entries.length; i++) {
        const entry = entries[i];
        if (!Number.isInteger(entry) || entry <= last || entry >= target.length) {
          throw new HalftoneError(
            'RANGE',
            `layer ${layer}, key/value head ${kvHead}: entry ${entry} must be a whole number after ${last} and below ${target.length}`,
            { where: WHERE, details: { layer, kvHead, entry, length: target.length } },
          );
        }
        last = entry;
      }
      target.retain(entries);
    },

    fork() {
      const copies: KvSlab[] = [];
      allOrNone(copies, () => {
        for (const each of slabs) copies.push(each.copy());
      });
      return build(shape, maxLength, copies, lastPositions.slice());
    },

    dispose() {
      for (const each of slabs) each.dispose();
      lastPositions.fill(-1);
    },

    get byteLength() {
      return slabs.reduce((sum, each) => sum + each.length * each.bytesPerEntry, 0);
    },
    get allocatedByteLength() {
      return slabs.reduce((sum, each) => sum + each.capacity * each.bytesPerEntry, 0);
    },
  };
}

/** Runs `fill`; when it fails, the slabs that have memory give it back. */
function allOrNone(slabs: readonly KvSlab[], fill: () => void): void {
  try {
    fill();
  } catch (error) {
    for (const each of slabs) each.dispose();
    throw error;
  }
}
