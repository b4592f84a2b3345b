import { TILE } from '../../src/internal/attention-layout.js';
import { type Build, multiplyAdd, unroll } from '../unroll.js';

/**
 * Query vectors that go through the entries together, and entries that they meet at a time. The sums, the entries and one query stay
 * in 16 registers; without fused multiply-add a product needs one more.
 */
function blocks(build: Build): readonly (readonly [queries: number, entries: number])[] {
  const all = [
    [6, 2],
    [4, 2],
    [2, 4],
    [1, 4],
  ] as const;
  return build === 'relaxed' ? all : all.slice(1);
}

/** Sizes of blocks of query vectors. */
export function queryBlocks(build: Build): readonly number[] {
  return blocks(build).map(([queries]) => queries);
}

/** Text that calls for each block of `queries` vectors, first to last, what is for its size. */
export function eachQueryBlock(build: Build, body: (size: number) => string): string {
  return `let left = queries;
  do {
    const size = queryBlock(left);
${queryBlocks(build)
  .map((size) => `    if (size == ${size}) { ${body(size)} }`)
  .join(' else\n')}
    left -= size;
  } while (left);`;
}

/**
 * Scores `q · k`. Queries are packed in blocks, `[block][step][query][4]`; keys are rows of `4 * steps` values. Lanes run along the
 * channels, so that keys are read as they are stored. Row `j` of the scores is at `s + 4 * TILE * j`.
 */
export function scoresSource(build: Build): string {
  return `
/** Query vectors of the next block, when so many are left. Eight are better as two fours than as six and two. */
@inline function queryBlock(left: i32): i32 {
  ${build === 'relaxed' ? 'if (left >= 6 && left != 8) return 6;' : ''}
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/** \`[a, b, c, d]\`, each the sum of its lanes. */
@inline function sumFour(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}
${blocks(build)
  .map(([queries, entries]) => blockSource(build, queries, entries))
  .join('')}
/** Scores of \`queries\` vectors with a multiple of 4 entries. */
function scores(q: usize, queries: i32, keys: usize, steps: i32, entries: i32, s: usize): void {
  ${eachQueryBlock(build, (size) => `scores${size}(q, keys, steps, entries / ${size > 2 ? 2 : 4}, s); q += <usize>steps * ${16 * size}; s += ${4 * TILE * size};`)}
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
