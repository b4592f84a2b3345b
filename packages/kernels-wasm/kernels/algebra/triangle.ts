import { type Build, unroll } from '../unroll.js';
import { type Element, loadSplat, multiplySubtract } from './element.js';

/** Triangles small enough for the first-level cache: substitution and factoring without a product. */
export function triangleSource(build: Build, element: Element): string {
  return `${substitute(build, element)}${dot(build, element)}${factor(element)}`;
}

/**
 * Forward substitution `T x = alpha b` in place for 64 bytes of columns of `b` at a time. `(i, j)` of `t` lies at `t + i * ti + j * tj`
 * (bytes, may be negative), so that transposed and upper triangles look like lower ones.
 */
function substitute(build: Build, element: Element): string {
  const { vector, scalar, bytes, suffix } = element;
  const width = 64 / bytes;
  const four = (body: (i: number) => string) => unroll(4, body, ' ');
  return `
export function substitute${suffix}(
  t: usize, ti: i32, tj: i32, n: i32, b: usize, bi: i32, bj: i32, columns: i32, alpha: ${scalar}, count: i32, panel: usize
): void {
  const factor = ${vector}.splat(alpha);
  do {
    const w = min(columns, ${width}), whole = w == ${width} && bj == ${bytes};
    let from = b, x = panel;
    for (let i = n; i > 0; i--) {
      if (whole) { ${four((q) => `v128.store(x, ${vector}.mul(factor, v128.load(from, ${16 * q})), ${16 * q});`)} }
      else {
        for (let j = 0; j < ${width}; j++) {
          let value: ${scalar} = 0;
          if (j < w) value = alpha * load<${scalar}>(from + <usize>(j * bj));
          store<${scalar}>(x + <usize>(j * ${bytes}), value);
        }
      }
      from += <usize>bi; x += 64;
    }
    x = panel;
    let row = t;
    for (let i = 0; i < n; i++) {
      let ${four((q) => `s${q} = v128.load(x, ${16 * q})${q < 3 ? ',' : ';'}`)}
      let tp = row, xp = panel;
      for (let k = i; k > 0; k--) {
        const value = ${loadSplat(element, 'tp')};
        ${four((q) => `s${q} = ${multiplySubtract(build, element, 'value', `v128.load(xp, ${16 * q})`, `s${q}`)};`)}
        tp += <usize>tj; xp += 64;
      }
      const pivot = ${loadSplat(element, 'tp')};
      ${four((q) => `v128.store(x, ${vector}.div(s${q}, pivot), ${16 * q});`)}
      row += <usize>ti; x += 64;
    }
    let to = b;
    x = panel;
    for (let i = n; i > 0; i--) {
      if (whole) { ${four((q) => `v128.store(to, v128.load(x, ${16 * q}), ${16 * q});`)} }
      else for (let j = 0; j < w; j++) store<${scalar}>(to + <usize>(j * bj), load<${scalar}>(x + <usize>(j * ${bytes})));
      to += <usize>bi; x += 64;
    }
    b += <usize>(${width} * bj); columns -= ${width};
  } while (--count);
}
`;
}

function dot(build: Build, element: Element): string {
  const { vector, scalar, bytes, lanes, suffix } = element;
  return `
/** \`start\` less the product of two rows. */
function subtractDot${suffix}(start: ${scalar}, a: usize, b: usize, length: i32): ${scalar} {
  let s0 = ${vector}.splat(0), s1 = ${vector}.splat(0);
  while (length >= ${2 * lanes}) {
    s0 = ${multiplySubtract(build, element, 'v128.load(a)', 'v128.load(b)', 's0')};
    s1 = ${multiplySubtract(build, element, 'v128.load(a, 16)', 'v128.load(b, 16)', 's1')};
    a += 32; b += 32; length -= ${2 * lanes};
  }
  s0 = ${vector}.add(s0, s1);
  let sum = ${unroll(lanes, (lane) => `${vector}.extract_lane(s0, ${lane})`, ' + ')};
  for (; length > 0; length--) { sum -= load<${scalar}>(a) * load<${scalar}>(b); a += ${bytes}; b += ${bytes}; }
  return start + sum;
}
`;
}

/** The lower Cholesky factor in place. Returns the index of the pivot that is not positive and finite, left in its place, or -1. */
function factor({ scalar, bytes, suffix }: Element): string {
  return `
export function factor${suffix}(a: usize, stride: i32, n: i32): i32 {
  let row = a;
  for (let i = 0; i < n; i++) {
    let other = a;
    for (let j = 0; j < i; j++) {
      const at = row + <usize>(j * ${bytes});
      store<${scalar}>(at, subtractDot${suffix}(load<${scalar}>(at), row, other, j) / load<${scalar}>(other + <usize>(j * ${bytes})));
      other += <usize>stride;
    }
    const at = row + <usize>(i * ${bytes}), pivot = subtractDot${suffix}(load<${scalar}>(at), row, row, i);
    store<${scalar}>(at, pivot);
    if (!(pivot > 0 && pivot < Infinity)) return i;
    store<${scalar}>(at, sqrt(pivot));
    row += <usize>stride;
  }
  return -1;
}
`;
}
