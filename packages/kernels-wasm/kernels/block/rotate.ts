/**
 * Rotary position embedding, in place. `x` is `[rows, heads * 2 * pairs]`; `index` holds a row of the tables `[.., pairs]` of
 * cosines and sines for each row of `x`.
 */
export const ROTATE = `
export function rotate(x: usize, index: usize, rows: i32, heads: i32, pairs: i32, cosines: usize, sines: usize): void {
  const half = <usize>pairs << 2;
  do {
    const table = <usize>load<i32>(index) * half;
    let head = heads;
    do {
      let c = cosines + table, s = sines + table, y = x + half, n = pairs >> 2;
      if (n) do {
        const a = v128.load(x), b = v128.load(y), cosine = v128.load(c), sine = v128.load(s);
        v128.store(x, f32x4.sub(f32x4.mul(a, cosine), f32x4.mul(b, sine)));
        v128.store(y, f32x4.add(f32x4.mul(b, cosine), f32x4.mul(a, sine)));
        x += 16; y += 16; c += 16; s += 16;
      } while (--n);
      for (let i = pairs & 3; i > 0; i--) {
        rotatePair(x, y, load<f32>(c), load<f32>(s));
        x += 4; y += 4; c += 4; s += 4;
      }
      x = y;
    } while (--head);
    index += 4;
  } while (--rows);
}

/** Pairs are neighbours. */
export function rotateInterleaved(x: usize, index: usize, rows: i32, heads: i32, pairs: i32, cosines: usize, sines: usize): void {
  const half = <usize>pairs << 2;
  do {
    const table = <usize>load<i32>(index) * half;
    let head = heads;
    do {
      let c = cosines + table, s = sines + table, n = pairs >> 2;
      if (n) do {
        const v = v128.load(x), w = v128.load(x, 16), cosine = v128.load(c), sine = v128.load(s);
        const a = v128.shuffle<f32>(v, w, 0, 2, 4, 6), b = v128.shuffle<f32>(v, w, 1, 3, 5, 7);
        const even = f32x4.sub(f32x4.mul(a, cosine), f32x4.mul(b, sine)), odd = f32x4.add(f32x4.mul(b, cosine), f32x4.mul(a, sine));
        v128.store(x, v128.shuffle<f32>(even, odd, 0, 4, 1, 5));
        v128.store(x, v128.shuffle<f32>(even, odd, 2, 6, 3, 7), 16);
        x += 32; c += 16; s += 16;
      } while (--n);
      for (let i = pairs & 3; i > 0; i--) {
        rotatePair(x, x + 4, load<f32>(c), load<f32>(s));
        x += 8; c += 4; s += 4;
      }
    } while (--head);
    index += 4;
  } while (--rows);
}

@inline function rotatePair(x: usize, y: usize, cosine: f32, sine: f32): void {
  const a = load<f32>(x), b = load<f32>(y);
  store<f32>(x, a * cosine - b * sine);
  store<f32>(y, b * cosine + a * sine);
}
`;
