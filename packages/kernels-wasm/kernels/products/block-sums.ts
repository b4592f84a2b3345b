import type { Layout } from '../../src/internal/layout.js';
import { type Build, multiplyAdd, splat32 } from '../unroll.js';

/** Offset of a group's entry among three: the whole block, its first half, its second half. */
function entry({ groups }: Layout, group: number): number {
  return groups === 1 ? 0 : 4 + 4 * group;
}

/** What a group's integer sum starts with. `tail` is the offset from `record` of what follows the codes of a record. */
export function start(layout: Layout, group: number, tail: number, record = 'a'): string {
  return splat32(record, tail + 4 + entry(layout, group));
}

/** Adds a group's integer sums to the float sums of rows `4 half` to `4 half + 3` of a block. */
export function addGroup(
  build: Build,
  layout: Layout,
  group: number,
  half: number,
  sums: string,
  integers: string,
  scale: string,
  tail: number,
  block = 'w',
  record = 'a',
): string {
  const at = 32 * group + 16 * half;
  const factor = `f32x4.mul(v128.load(${block}, ${at}), ${scale})`;
  const scaled = `${sums} = ${multiplyAdd(build, `f32x4.convert_i32x4_s(${integers})`, factor, sums)};`;
  if (!layout.offsets) return scaled;
  const offset = `v128.load(${block}, ${32 * layout.groups + at})`;
  const activationSum = splat32(record, tail + 16 + entry(layout, group));
  return `${scaled} ${sums} = ${multiplyAdd(build, offset, activationSum, sums)};`;
}
