import { HalftoneError, type KvCache, type KvShape, type KvView } from '@halftone/tensor';
import { firstAtOrAfter, KvSlab } from './internal/kv-slab.js';

export interface FullCacheOptions {
  /** Tokens that every head has room for from the start. Default 0. */
  readonly capacity?: number;
  /** Most tokens a head may hold; `append` refuses more. Default: no limit. */
  readonly maxLength?: number;
}

/** A cache of every token in float32. */
export interface FullCache extends KvCache {
  /** Bytes of the buffers, unused room included. */
  readonly allocatedByteLength: number;
  /** An independent copy; tokens appended to one are not seen by the other. Costs `byteLength` bytes. */
  fork(): FullCache;
  /**
   * Keeps only these entries of one head, by index, in increasing order. Lengths become ragged over heads.
   * Throws `RANGE` for indices that are not increasing or outside the head.
   */
  retain(layer: number, kvHead: number, entries: ArrayLike<number>): void;
}

const WHERE = 'fullCache';

/**
 * Keeps all keys and values of one sequence in float32: `layers * kvHeads * (8 * headDim + 4)` bytes a token.
 *
 * Every layer and head has its own contiguous buffers, which double while small and later grow by a bounded step.
 * A failed `append` leaves the cache as it was. Throws `SHAPE` for a shape or array of the wrong size, `RANGE` for a layer,
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
  const { capacity = 0, maxLength = Number.POSITIVE_INFINITY } = options;
  if (!Number.isSafeInteger(capacity) || capacity < 0 || !(maxLength >= 1) || capacity > maxLength) {
    throw new HalftoneError(
      'RANGE',
      `capacity is ${capacity} and maxLength ${maxLength}; capacity must be a whole number from 0 to maxLength`,
      { where: WHERE, details: { capacity, maxLength } },
    );
  }
  const slabs = Array.from({ length: layers * kvHeads }, () => new KvSlab(headDim, capacity));
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
      for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
        const length = slabs[layer * kvHeads + kvHead].length + tokens;
        if (length > maxLength) {
          throw new HalftoneError('RANGE', `layer ${layer}: ${length} tokens exceed maxLength ${maxLength}`, {
            where: WHERE,
            details: { layer, kvHead, length, maxLength },
          });
        }
      }
      for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
        slabs[layer * kvHeads + kvHead].append(keys, values, positions, kvHead * headDim, width, maxLength);
      }
      lastPositions[layer] = positions[tokens - 1];
    },

    view: (layer, kvHead): KvView => slab(layer, kvHead).view(),
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

    fork: () =>
      build(
        shape,
        maxLength,
        slabs.map((each) => each.copy()),
        lastPositions.slice(),
      ),

    get byteLength() {
      return slabs.reduce((sum, each) => sum + each.length * each.bytesPerEntry, 0);
    },
    get allocatedByteLength() {
      return slabs.reduce((sum, each) => sum + each.positions.length * each.bytesPerEntry, 0);
    },
  };
}
