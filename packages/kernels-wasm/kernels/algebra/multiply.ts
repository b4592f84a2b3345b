import { algebraTile, BLOCK_COLUMNS, BLOCK_ROWS } from '../../src/internal/algebra/blocking.js';
import { type Build, unroll } from '../unroll.js';
import { type Element, FLOAT32, loadSplat, multiplyAdd } from './element.js';

/**
 * Products of packed operands, `c = alpha a b + beta c`. Items are blocks of `c`, numbered along its rows: a block's share of `a`
 * stays in the second-level cache, the panel of `b` that is multiplied with it in the first. Of `c`, elements with
 * `column <= row + diagonal` are written.
 */
export function multiplySource(build: Build, element: Element): string {
  const { scalar, bytes, suffix } = element;
  const { rows, columns } = algebraTile(build, bytes);
  const body = `if (whole) tile${suffix}(ap, bp, k, cp, <usize>stride, alpha, beta);
          else {
            tile${suffix}(ap, bp, k, temporary, 32, 1, 0);
            merge${suffix}(temporary, cp, stride, min(m - i, ${rows}), min(n - j, ${columns}), i - j + diagonal, alpha, beta);
          }`;
  return `${tile(build, element)}${merge(element)}
export function multiply${suffix}(
  first: i32, count: i32, across: i32, a: usize, b: usize, c: usize, stride: i32,
  m: i32, n: i32, k: i32, alpha: ${scalar}, beta: ${scalar}, diagonal: i32, temporary: usize
): void {
${blocks(build, element, bytes, body)}
}
`;
}

/** `c` is float64 and grows by the float32 product of `a` and `b`. */
export function accumulateSource(build: Build): string {
  const { rows, columns } = algebraTile(build, FLOAT32.bytes);
  const body = `tile32(ap, bp, k, temporary, 32, 1, 0);
          if (whole) promote(temporary, cp, <usize>stride);
          else promoteEdge(temporary, cp, stride, min(m - i, ${rows}), min(n - j, ${columns}), i - j + diagonal);`;
  return `
function promote(from: usize, c: usize, stride: usize): void {
  let row = ${rows};
  do {
    const low = v128.load(from), high = v128.load(from, 16);
${unroll(4, (i) => `    v128.store(c, f64x2.add(v128.load(c, ${16 * i}), f64x2.promote_low_f32x4(${promoted(i)})), ${16 * i});`)}
    from += 32; c += stride;
  } while (--row);
}

function promoteEdge(from: usize, c: usize, stride: i32, rows: i32, columns: i32, diagonal: i32): void {
  for (let row = 0; row < rows; row++) {
    const end = min(columns, row + diagonal + 1);
    for (let column = 0; column < end; column++) {
      const at = c + (<usize>column << 3);
      store<f64>(at, load<f64>(at) + <f64>load<f32>(from + (<usize>column << 2)));
    }
    from += 32; c += <usize>stride;
  }
}

export function accumulate(
  first: i32, count: i32, across: i32, a: usize, b: usize, c: usize, stride: i32,
  m: i32, n: i32, k: i32, diagonal: i32, temporary: usize
): void {
${blocks(build, FLOAT32, 8, body)}
}
`;
}

function promoted(quarter: number): string {
  const half = quarter < 2 ? 'low' : 'high';
  return quarter % 2 === 0 ? half : `i64x2.shuffle(${half}, ${half}, 1, 1)`;
}

/** Loops over the tiles of so many blocks; `body` sees the addresses of each, and whether all of the tile is to be written. */
function blocks(build: Build, { bytes }: Element, resultBytes: number, body: string): string {
  const { rows, columns } = algebraTile(build, bytes);
  return `  const tileBytes = <usize>(k * ${rows * bytes}), panelBytes = <usize>(k * ${columns * bytes});
  do {
    const top = (first / across) * ${BLOCK_ROWS}, left = (first % across) * ${BLOCK_COLUMNS};
    const bottom = min(m, top + ${BLOCK_ROWS}), right = min(n, left + ${BLOCK_COLUMNS});
    let bp = b + <usize>(left / ${columns}) * panelBytes;
    for (let j = left; j < right; j += ${columns}) {
      let ap = a + <usize>(top / ${rows}) * tileBytes;
      let cp = c + <usize>top * <usize>stride + <usize>(j * ${resultBytes});
      for (let i = top; i < bottom; i += ${rows}) {
        if (j <= i + ${rows - 1} + diagonal) {
          const whole = i + ${rows} <= m && j + ${columns} <= n && j + ${columns - 1} <= i + diagonal;
          ${body}
        }
        ap += tileBytes; cp += ${rows} * <usize>stride;
      }
      bp += panelBytes;
    }
    first++;
  } while (--count);`;
}

function tile(build: Build, element: Element): string {
  const { vector, scalar, bytes, suffix } = element;
  const { rows, columns } = algebraTile(build, bytes);
  return `
function tile${suffix}(a: usize, b: usize, k: i32, c: usize, stride: usize, alpha: ${scalar}, beta: ${scalar}): void {
  let ${unroll(rows, (r) => unroll(2, (h) => `c${r}${h} = ${vector}.splat(0)`, ', '), ', ')};
  do {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x: v128;
${unroll(rows, (r) => `    x = ${loadSplat(element, 'a', bytes * r)}; ${unroll(2, (h) => `c${r}${h} = ${multiplyAdd(build, element, 'x', `b${h}`, `c${r}${h}`)};`, ' ')}`)}
    a += ${rows * bytes}; b += ${columns * bytes};
  } while (--k);
  const factor = ${vector}.splat(alpha);
  if (beta == 0) {
${unroll(rows, (r) => `    ${unroll(2, (h) => `v128.store(c, ${vector}.mul(factor, c${r}${h}), ${16 * h});`, ' ')} c += stride;`)}
  } else {
    const old = ${vector}.splat(beta);
${unroll(rows, (r) => `    ${unroll(2, (h) => `v128.store(c, ${vector}.add(${vector}.mul(old, v128.load(c, ${16 * h})), ${vector}.mul(factor, c${r}${h})), ${16 * h});`, ' ')} c += stride;`)}
  }
}
`;
}

function merge({ scalar, bytes, lanes, suffix }: Element): string {
  return `
function merge${suffix}(
  from: usize, c: usize, stride: i32, rows: i32, columns: i32, diagonal: i32, alpha: ${scalar}, beta: ${scalar}
): void {
  for (let row = 0; row < rows; row++) {
    const end = min(columns, row + diagonal + 1);
    for (let column = 0; column < end; column++) {
      const at = c + <usize>(column * ${bytes}), product = alpha * load<${scalar}>(from + <usize>(column * ${bytes}));
      if (beta == 0) store<${scalar}>(at, product);
      else store<${scalar}>(at, beta * load<${scalar}>(at) + product);
    }
    from += ${2 * lanes * bytes}; c += <usize>stride;
  }
}
`;
}
