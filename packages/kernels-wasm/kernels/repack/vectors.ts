import { unroll } from '../unroll.js';

/** Stores the first columns of four vectors, each of which is a row of 32-bit lanes. */
export function storeColumns(rows: readonly string[], to: string, offsets: readonly number[]): string {
  const [a, b, c, d] = rows;
  const column = (i: number) => {
    const pair = i < 2 ? 'Low' : 'High';
    const [x, y] = i % 2 === 0 ? [0, 2] : [1, 3];
    return `v128.store(${to}, i64x2.shuffle(ab${pair}, cd${pair}, ${x}, ${y}), ${offsets[i]});`;
  };
  return `{
      const ab0 = ${a}, ab1 = ${b}, cd0 = ${c}, cd1 = ${d};
      const abLow = i32x4.shuffle(ab0, ab1, 0, 4, 1, 5), abHigh = i32x4.shuffle(ab0, ab1, 2, 6, 3, 7);
      const cdLow = i32x4.shuffle(cd0, cd1, 0, 4, 1, 5), cdHigh = i32x4.shuffle(cd0, cd1, 2, 6, 3, 7);
      ${unroll(offsets.length, column, '\n      ')}
    }`;
}

/** The same expression of `p0` to `p3`, the pointers to four rows. */
export function ofRows(expression: (pointer: string) => string): string[] {
  return [0, 1, 2, 3].map((row) => expression(`p${row}`));
}
