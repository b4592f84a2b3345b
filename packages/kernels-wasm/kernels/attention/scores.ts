import { TILE } from '../../src/internal/attention-layout.js';
import { type Build, multiplyAdd, unroll } from '../unroll.js';

/** Query vectors that go through the entries together, and entries that they meet at a time: eight sums in registers. */
export const SHAPES: readonly (readonly [queries: number, entries: number])[] = [
  [4, 2],
  [2, 4],
  [1, 4],
];

/**
 * Scores `q · k`. Queries are packed in fours, then twos, then ones, `[block][step][query][4]`; keys are rows of `4 * steps`
 * values. Lanes run along the channels, so that keys are read as they are stored. Row `j` of the scores is at `s + 4 * TILE * j`.
 */
export function scoresSource(build: Build): string {
  return `
/** \`[a, b, c, d]\`, each the sum of its lanes. */
@inline function sumFour(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}
${SHAPES.map(([queries, entries]) => blockSource(build, queries, entries)).join('')}
/** Scores of \`queries\` vectors with a multiple of 4 entries. */
function scores(q: usize, queries: i32, keys: usize, steps: i32, entries: i32, s: usize): void {
  let j = queries >> 2;
  while (j > 0) { scores4(q, keys, steps, entries >> 1, s); q += <usize>steps << 6; s += ${16 * TILE}; --j; }
  if (queries & 2) { scores2(q, keys, steps, entries >> 2, s); q += <usize>steps << 5; s += ${8 * TILE}; }
  if (queries & 1) scores1(q, keys, steps, entries >> 2, s);
}
`;
}

function blockSource(build: Build, queries: number, entries: number): string {
  const each = (body: (query: number, entry: number) => string, separator = '\n') =>
    unroll(queries, (i) => unroll(entries, (k) => body(i, k), separator), separator);
  return `
function scores${queries}(q: usize, keys: usize, steps: i32, blocks: i32, s: usize): void {
  const stride = <usize>steps << 4;
  do {
    let ${each((i, k) => `c${i}${k} = f32x4.splat(0)`, ', ')};
    let ${unroll(entries, (k) => `p${k} = keys + ${k} * stride`, ', ')}, qp = q, i = steps;
    do {
      const ${unroll(entries, (k) => `k${k} = v128.load(p${k})`, ', ')};
      let x: v128;
${unroll(queries, (i) => `      x = v128.load(qp, ${16 * i}); ${unroll(entries, (k) => `c${i}${k} = ${multiplyAdd(build, 'x', `k${k}`, `c${i}${k}`)};`, ' ')}`)}
      qp += ${16 * queries}; ${unroll(entries, (k) => `p${k} += 16;`, ' ')}
    } while (--i);
    keys += ${entries} * stride;
${entries === 4 ? storeFours(queries) : storePairs(queries)}
    s += ${4 * entries};
  } while (--blocks);
}
`;
}

function storeFours(queries: number): string {
  return unroll(queries, (i) => `    v128.store(s, sumFour(c${i}0, c${i}1, c${i}2, c${i}3), ${4 * TILE * i});`);
}

function storePairs(queries: number): string {
  return unroll(queries / 2, (half) => {
    const [i, j] = [2 * half, 2 * half + 1];
    return `    const r${half} = sumFour(c${i}0, c${i}1, c${j}0, c${j}1);
    v128.store64_lane(s, r${half}, 0, ${4 * TILE * i}); v128.store64_lane(s, r${half}, 1, ${4 * TILE * j});`;
  });
}
