import type { SparseTensor } from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import type { Arena } from './arena.js';
import { PANEL } from './layout.js';
import type { NarrowPart, PickedColumns, SideBranches } from './side-branches.js';

/** Every array starts where vectors are aligned. */
const ALIGNMENT = 16;

export interface HeldColumns {
  readonly count: number;
  /** Absent where all columns are taken as they come. */
  readonly order?: number;
  readonly factors: number;
}

/** Panels `[panel][width][8]`. */
export interface HeldNarrow {
  readonly width: number;
  readonly panels: number;
}

export interface HeldOutliers {
  /** `[out + 1]`, counts of entries. */
  readonly pointers: number;
  /** A column (u32) and a value (f32) each. */
  readonly entries: number;
  readonly perRow: number;
}

/** Side branches in an arena's memory, as addresses. */
export interface HeldSides {
  readonly arena: Arena;
  readonly address: number;
  readonly byteLength: number;
  readonly input?: HeldColumns;
  readonly lowRank?: HeldNarrow;
  readonly shared?: HeldNarrow & { readonly columns: HeldColumns };
  readonly outliers?: HeldOutliers;
}

type Values = Uint32Array | Float32Array;

/** All but the weights of products, in one place. Throws `DEVICE` when no memory has room. */
export function holdSides(
  { place }: Pick<Machine, 'place'>,
  { input, lowRank, shared, outliers }: SideBranches,
  outFeatures: number,
): HeldSides {
  const lowRankPanels = lowRank && narrowPanels(lowRank, outFeatures);
  const sharedPanels = shared && narrowPanels(shared, outFeatures);
  const entries = outliers && interleaved(outliers);

  /** `add` gives an array's address. */
  const layOut = (add: (values: Values) => number) => {
    const columns = ({ order, factors }: PickedColumns): HeldColumns => ({
      count: factors.length,
      order: order && add(order),
      factors: add(factors),
    });
    return {
      input: input && columns(input),
      lowRank: lowRank && lowRankPanels && { width: lowRank.width, panels: add(lowRankPanels) },
      shared: shared &&
        sharedPanels && { width: shared.width, panels: add(sharedPanels), columns: columns(shared.columns) },
      outliers: outliers &&
        entries && {
          pointers: add(outliers.rowPointers),
          entries: add(entries),
          perRow: outliers.values.length / outFeatures,
        },
    };
  };

  let byteLength = ALIGNMENT;
  const end = (values: Values) => Math.ceil(values.byteLength / ALIGNMENT) * ALIGNMENT;
  layOut((values) => (byteLength += end(values)));
  const [arena, address] = place(byteLength);
  let next = address;
  const held = layOut((values) => {
    const at = next;
    next += end(values);
    arena.bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    return at;
  });
  return { arena, address, byteLength, ...held };
}

function narrowPanels({ width, values }: NarrowPart, outFeatures: number): Float32Array {
  const panels = new Float32Array(Math.ceil(outFeatures / PANEL) * width * PANEL);
  for (let row = 0; row < outFeatures; row++) {
    const to = Math.floor(row / PANEL) * width * PANEL + (row % PANEL);
    for (let k = 0; k < width; k++) panels[to + k * PANEL] = values[row * width + k];
  }
  return panels;
}

function interleaved({ columns, values }: SparseTensor): Uint32Array {
  const entries = new Uint32Array(2 * columns.length);
  const floats = new Float32Array(entries.buffer);
  for (let i = 0; i < columns.length; i++) {
    entries[2 * i] = columns[i];
    floats[2 * i + 1] = values[i];
  }
  return entries;
}
