/** Shortest copies that are worth three numbers: from where the last one would go on, from close by, and from anywhere. */
const SHORTEST = { same: 6, near: 8, far: 18 };
const NEAR = 64;

/** Short edits with which `withEdits` makes `target` of `base`; each copy is the best at its place. */
export function findEdits(base: Uint8Array, target: Uint8Array): Uint8Array {
  const places = placesOfThree(base);
  const numbers: number[] = [];
  const inserted: number[] = [];
  let pending = 0;
  let expected = 0;
  for (let at = 0; at < target.length; ) {
    const candidates = places.get(three(target, at)) ?? [];
    const { from, length } = bestCopy(base, target, at, expected, candidates);
    if (length === 0) {
      inserted.push(target[at]);
      pending++;
      expected++;
      at++;
      continue;
    }
    const jump = from - expected;
    numbers.push(pending, jump < 0 ? -2 * jump - 1 : 2 * jump, length);
    pending = 0;
    expected = from + length;
    at += length;
  }
  if (pending > 0) numbers.push(pending, 0, 0);
  return Uint8Array.from([...[target.length, inserted.length, ...numbers].flatMap(sevenBits), ...inserted]);
}

function bestCopy(
  base: Uint8Array,
  target: Uint8Array,
  at: number,
  expected: number,
  candidates: readonly number[],
): { readonly from: number; readonly length: number } {
  let best = { from: 0, length: 0, gain: 0 };
  for (const from of candidates) {
    const length = commonLength(base, from, target, at);
    const gain = length + 1 - shortestCopy(Math.abs(from - expected));
    if (gain > best.gain) best = { from, length, gain };
  }
  return best;
}

function shortestCopy(jump: number): number {
  if (jump === 0) return SHORTEST.same;
  return jump < NEAR ? SHORTEST.near : SHORTEST.far;
}

function commonLength(a: Uint8Array, i: number, b: Uint8Array, j: number): number {
  let length = 0;
  while (i + length < a.length && j + length < b.length && a[i + length] === b[j + length]) length++;
  return length;
}

/** Where each run of three bytes stands. */
function placesOfThree(bytes: Uint8Array): ReadonlyMap<number, number[]> {
  const places = new Map<number, number[]>();
  for (let at = 0; at + 3 <= bytes.length; at++) {
    const key = three(bytes, at);
    const list = places.get(key);
    if (list === undefined) places.set(key, [at]);
    else list.push(at);
  }
  return places;
}

function three(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
}

function sevenBits(number: number): number[] {
  return number < 128 ? [number] : [(number & 127) | 128, ...sevenBits(number >>> 7)];
}
