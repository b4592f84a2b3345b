import { unroll } from '../unroll.js';

/**
 * Loops over vectors of four float32 values. `pointers` go forward; the last one to three of `count` values are left over, and
 * `loadPart` and `storePart` are for them.
 */

/** `body` is written `unrolled` times (2 or 4) in a first loop and once in a second; it gets its offset from the pointers and its place. */
export function vectors(
  count: string,
  pointers: readonly string[],
  body: (offset: number, place: number) => string,
  unrolled: 2 | 4 = 4,
): string {
  const forward = (bytes: number) => pointers.map((pointer) => `${pointer} += ${bytes};`).join(' ');
  const shift = unrolled === 4 ? 4 : 3;
  return `
  let many = ${count} >> ${shift}, single = (${count} >> 2) & ${unrolled - 1};
  if (many) do {
${unroll(unrolled, (i) => `    ${body(16 * i, i)}`)}
    ${forward(16 * unrolled)}
  } while (--many);
  if (single) do {
    ${body(0, 0)}
    ${forward(16)}
  } while (--single);`;
}

export const VECTORS = `
/** The first \`count\` of one to three values, the lanes of \`rest\` after them. */
function loadPart(p: usize, count: i32, rest: v128): v128 {
  let v = v128.load32_lane(p, rest, 0);
  if (count > 1) v = v128.load32_lane(p, v, 1, 4);
  if (count > 2) v = v128.load32_lane(p, v, 2, 8);
  return v;
}

function storePart(p: usize, count: i32, v: v128): void {
  v128.store32_lane(p, v, 0);
  if (count > 1) v128.store32_lane(p, v, 1, 4);
  if (count > 2) v128.store32_lane(p, v, 2, 8);
}

@inline function sumOfLanes(v: v128): f64 {
  return (<f64>f32x4.extract_lane(v, 0) + <f64>f32x4.extract_lane(v, 1)) + (<f64>f32x4.extract_lane(v, 2) + <f64>f32x4.extract_lane(v, 3));
}

@inline function sumOfVectors(a: v128, b: v128, c: v128, d: v128): f64 {
  return sumOfLanes(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}
`;
