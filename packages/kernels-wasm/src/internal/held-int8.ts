import type { UploadedLinear } from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import type { Arena } from './arena.js';
import {
  GROUP_HEADER,
  GROUP_LEVELS,
  type Int8Storage,
  int8BlockBytes,
  NIBBLE_CENTER,
  nibbleOrder,
} from './int8-layout.js';
import type { Int8Weight } from './int8-weight.js';
import { BLOCK, PANEL } from './layout.js';

/** A weight in an arena's memory: panels of 8 output features, `[panel][group][header, blocks]`. */
export interface HeldInt8 extends UploadedLinear {
  readonly arena: Arena;
  readonly storage: Int8Storage;
  readonly panels: number;
  readonly panelBytes: number;
  readonly groups: number;
  /** Blocks of 32 columns in a group. */
  readonly blocks: number;
  /** Columns of the panels: `inFeatures` rounded up to whole groups. */
  readonly depth: number;
  readonly level: number;
  readonly weight: number;
  /** `[8 panels]` float32 */
  readonly factors: number;
  /** `[8 panels]` float32, zeros where there is no bias. */
  readonly bias: number;
}

/** Throws `DEVICE` when no memory has room. */
export function holdInt8(
  { build, place }: Pick<Machine, 'build' | 'place'>,
  weight: Int8Weight,
  bias: Float32Array | undefined,
): HeldInt8 {
  const { outFeatures, inFeatures, storage, groups, groupColumns, level, factors } = weight;
  const panels = Math.ceil(outFeatures / PANEL);
  const blocks = groupColumns / BLOCK;
  const groupBytes = (level === 'none' ? 0 : GROUP_HEADER) + blocks * int8BlockBytes(storage);
  const panelBytes = groups * groupBytes;
  const vectorBytes = panels * PANEL * 4;
  const byteLength = panels * panelBytes + 2 * vectorBytes;
  const [arena, at] = place(byteLength);
  const bytes = arena.bytes.subarray(at, at + byteLength).fill(0);
  for (let row = 0; row < outFeatures; row++) {
    const start = Math.floor(row / PANEL) * panelBytes;
    packScales(weight, row, groupBytes, arena, at + start);
    const codes = start + groupBytes - blocks * int8BlockBytes(storage);
    if (storage === 'nibble') packNibbles(weight, row, nibbleOrder(build), groupBytes, bytes.subarray(codes));
    else packBytes(weight, row, bytes.subarray(codes));
  }
  const factorsAt = at + panels * panelBytes;
  arena.floats.set(factors, factorsAt / 4);
  if (bias !== undefined) arena.floats.set(bias, (factorsAt + vectorBytes) / 4);
  return {
    ...{ outFeatures, inFeatures, byteLength, arena, storage, panels, panelBytes, groups, blocks },
    depth: groups * groupColumns,
    level: GROUP_LEVELS[level],
    weight: at,
    factors: factorsAt,
    bias: factorsAt + vectorBytes,
  };
}

function packScales(
  { level, groups, groupScales }: Int8Weight,
  row: number,
  groupBytes: number,
  arena: Arena,
  at: number,
) {
  if (groupScales === undefined) return;
  const to = level === 'integer' ? new Int32Array(arena.bytes.buffer) : arena.floats;
  for (let group = 0; group < groups; group++) {
    to[(at + group * groupBytes) / 4 + (row % PANEL)] = groupScales[row * groups + group];
  }
}

/** `[pair of columns][8 features][2]` */
function packBytes({ codes, inFeatures }: Int8Weight, row: number, bytes: Uint8Array): void {
  const first = row * inFeatures;
  const at = 2 * (row % PANEL);
  for (let i = 0; i < inFeatures; i++) bytes[at + (i >> 1) * 2 * PANEL + (i & 1)] = codes[first + i];
}

/** `[vector][half][feature][4]`; the upper nibble is 16 columns further on. */
function packNibbles(
  { codes, inFeatures, groupColumns }: Int8Weight,
  row: number,
  order: readonly number[],
  groupBytes: number,
  bytes: Uint8Array,
): void {
  const first = row * inFeatures;
  const feature = row % PANEL;
  const at = 4 * feature;
  for (let i = 0; i < inFeatures; i++) {
    const inGroup = i % groupColumns;
    const block = ((i - inGroup) / groupColumns) * groupBytes + (inGroup >> 5) * ((PANEL * BLOCK) / 2);
    const code = (codes[first + i] + NIBBLE_CENTER) & 15;
    const shift = i & 16 ? 4 : 0;
    bytes[at + block + ((i & 15) >> 2) * PANEL * 4 + order[i & 3]] |= code << shift;
  }
}
