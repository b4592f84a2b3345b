/** Selection of large values. Equal ones (0 and -0 are equal) come in the order of their indices. */
export const TOP_K = `
/** The index of the first largest value; -1 where one is NaN. */
export function argmax(x: usize, count: i32): i32 {
  const top = largest(x, count, 1);
  if (top != top) return -1;
  const wanted = f32x4.splat(top), start = x, end = x + (<usize>(count >> 2) << 4);
  while (x < end && !v128.any_true(f32x4.eq(v128.load(x), wanted))) x += 16;
  while (load<f32>(x) != top) x += 4;
  return <i32>((x - start) >> 2);
}

/**
 * The \`k\` largest values in falling order, with their indices; returns 0 and writes nothing where one is NaN. \`heap\` takes \`k\`
 * keys of 8 bytes with the least on top, and a later value enters only where it is larger.
 */
export function topK(x: usize, count: i32, k: i32, heap: usize, values: usize, indices: usize): i32 {
  const top = largest(x, count, 1);
  if (top != top) return 0;
  for (let i = 0; i < k; i++) store<i64>(heap + (<usize>i << 3), keyOf(x, i));
  for (let i = (k >> 1) - 1; i >= 0; i--) sink(heap, i, k, load<i64>(heap + (<usize>i << 3)));
  let least = load<f32>(x + (<usize>indexOf(load<i64>(heap)) << 2)), i = k;
  for (; i + 16 <= count; i += 16) {
    const p = x + (<usize>i << 2), bound = f32x4.splat(least);
    const low = v128.or(f32x4.gt(v128.load(p), bound), f32x4.gt(v128.load(p, 16), bound));
    const high = v128.or(f32x4.gt(v128.load(p, 32), bound), f32x4.gt(v128.load(p, 48), bound));
    if (v128.any_true(v128.or(low, high))) least = enter(x, i, i + 16, heap, k, least);
  }
  enter(x, i, count, heap, k, least);
  sortFalling(heap, k);
  for (let j = 0; j < k; j++) {
    const index = indexOf(load<i64>(heap + (<usize>j << 3)));
    store<f32>(values + (<usize>j << 2), load<f32>(x + (<usize>index << 2)));
    store<i32>(indices + (<usize>j << 2), index);
  }
  return 1;
}

/** Puts values from \`first\` to \`end\` that are larger than the least into its place; returns the least one then. */
function enter(x: usize, first: i32, end: i32, heap: usize, k: i32, least: f32): f32 {
  for (let i = first; i < end; i++) {
    if (load<f32>(x + (<usize>i << 2)) > least) {
      sink(heap, 0, k, keyOf(x, i));
      least = load<f32>(x + (<usize>indexOf(load<i64>(heap)) << 2));
    }
  }
  return least;
}

/** Signed integers in the order of the values (0 for -0 too), and among equal ones against the order of the indices. */
@inline function keyOf(x: usize, index: i32): i64 {
  const bits = reinterpret<i32>(load<f32>(x + (<usize>index << 2)) + <f32>0);
  return (<i64>(bits ^ ((bits >> 31) & 0x7fffffff)) << 32) | <i64><u32>~index;
}

@inline function indexOf(key: i64): i32 { return ~<i32>key; }

/** Moves smaller keys up from below \`hole\` until \`key\` fits. */
function sink(heap: usize, hole: i32, size: i32, key: i64): void {
  for (;;) {
    let child = 2 * hole + 1;
    if (child >= size) break;
    let smaller = load<i64>(heap + (<usize>child << 3));
    if (child + 1 < size) {
      const other = load<i64>(heap + (<usize>child << 3), 8);
      if (other < smaller) { smaller = other; child++; }
    }
    if (key <= smaller) break;
    store<i64>(heap + (<usize>hole << 3), smaller);
    hole = child;
  }
  store<i64>(heap + (<usize>hole << 3), key);
}

function sortFalling(heap: usize, size: i32): void {
  for (let last = size - 1; last > 0; last--) {
    const at = heap + (<usize>last << 3), key = load<i64>(at);
    store<i64>(at, load<i64>(heap));
    sink(heap, 0, last, key);
  }
}
`;
