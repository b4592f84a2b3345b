import { type QuantizedTensor, type SparseTensor, tensor } from '@halftone/tensor';
import { noise } from './noise.js';

export interface SideChoice {
  readonly channelScale?: boolean;
  readonly permutation?: boolean;
  readonly groupIndex?: boolean;
  readonly outliers?: 'none' | 'scattered' | 'columns' | 'both' | 'empty';
  readonly rank?: number;
}

/** A weight with noise for side branches. Groups of `groupIndex` have the size that the scheme says. */
export function withSides(q: QuantizedTensor, choice: SideChoice, seed = 1): QuantizedTensor {
  const [outs, ins] = q.shape;
  const { outliers = 'none', rank = 0 } = choice;
  const { granularity } = q.scheme;
  const size = granularity.type === 'group' ? granularity.size : ins;
  return {
    ...q,
    parts: {
      ...q.parts,
      ...(choice.channelScale && { channelScale: noise(ins, seed + 1) }),
      ...(choice.permutation && { permutation: shuffled(ins, seed + 2) }),
      ...(choice.groupIndex && { groupIndex: shuffled(ins, seed + 3).map((k) => Math.floor(k / size)) }),
      ...(outliers !== 'none' && { outliers: chosenOutliers(outliers, outs, ins, seed + 4) }),
      ...(rank > 0 && {
        lowRank: {
          left: tensor(noise(outs * rank, seed + 5), [outs, rank]),
          right: tensor(noise(rank * ins, seed + 6), [rank, ins]),
        },
      }),
    },
  };
}

/** Each place holds a value with the given probability. */
export function sparseNoise(rows: number, columns: number, density: number, seed: number): SparseTensor {
  return sparse(rows, columns, noise(rows * columns, seed), (value) => value + 0.5 < density);
}

function chosenOutliers(kind: 'scattered' | 'columns' | 'both' | 'empty', rows: number, columns: number, seed: number) {
  const shared = (column: number) => column % 32 === 5;
  return sparse(rows, columns, noise(rows * columns, seed), (value, column) => {
    if (kind === 'empty') return false;
    const scattered = value + 0.5 < 0.05;
    return (kind !== 'columns' && scattered) || (kind !== 'scattered' && shared(column) && value < 0.45);
  });
}

function sparse(
  rows: number,
  columns: number,
  values: Float32Array,
  keep: (value: number, column: number) => boolean,
): SparseTensor {
  const kept = [...values.keys()].filter((i) => keep(values[i], i % columns));
  const rowPointers = new Uint32Array(rows + 1);
  for (const i of kept) rowPointers[Math.floor(i / columns) + 1]++;
  for (let row = 0; row < rows; row++) rowPointers[row + 1] += rowPointers[row];
  return {
    shape: [rows, columns],
    rowPointers,
    columns: Uint32Array.from(kept, (i) => i % columns),
    values: Float32Array.from(kept, (i) => values[i]),
  };
}

function shuffled(length: number, seed: number): Uint32Array {
  const keys = noise(length, seed);
  return Uint32Array.from({ length }, (_, i) => i).sort((a, b) => keys[a] - keys[b]);
}
