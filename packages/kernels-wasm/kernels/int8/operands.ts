import { int8BlockBytes, NIBBLE_CENTER } from '../../src/internal/int8-layout.js';
import { BLOCK } from '../../src/internal/layout.js';
import { addDot16, type Build, splat32, unroll } from '../unroll.js';

/**
 * A block as stored. Bytes: `[pair of columns][8 features][2]`. Nibbles: `[vector][half][16 bytes]`, where bytes `4 i` to
 * `4 i + 3` of vector `v`, half `h` belong to feature `4 h + i`; low nibbles are columns `4 v` to `4 v + 3`, high ones
 * `16 + 4 v` to `16 + 4 v + 3`, in the order that `nibbleOrder` gives.
 */
const PAIRS = BLOCK / 2;

/** Declares the masks of `blockDots`. */
export function masks(nibbles: boolean, build: Build): string {
  if (!nibbles) return '';
  if (build === 'relaxed') return 'const ones = i16x8.splat(<i16>ONE), nibble = i8x16.splat(<i8>NIBBLE);';
  return 'const nibble0 = i16x8.splat(<i16>NIBBLE), nibble1 = i16x8.splat(<i16>NIBBLE_1), nibble2 = i16x8.splat(<i16>NIBBLE_2);';
}

/** Adds the products of the block at `w` with one row at `a` to `s0` and `s1`, which are the two halves of the features. */
export function blockDots(nibbles: boolean, build: Build): string {
  if (!nibbles) {
    return unroll(
      PAIRS,
      (pair) =>
        `x = ${splat32('a', 4 * pair)}; ${[0, 1].map((h) => addDot16(`s${h}`, `v128.load8x8_s(w, ${16 * pair + 8 * h})`, 'x')).join(' ')}`,
    );
  }
  if (build === 'relaxed') {
    const dots = unroll(4, (v) => {
      const loads = `codes0 = v128.load(w, ${32 * v}); codes1 = v128.load(w, ${32 * v + 16});`;
      const low = `x = ${splat32('a', 4 * v)}; ${[0, 1].map((h) => chain(h, v === 0, `v128.and(codes${h}, nibble)`)).join(' ')}`;
      const high = `x = ${splat32('a', 16 + 4 * v)}; ${[0, 1].map((h) => chain(h, false, `i8x16.shr_u(codes${h}, 4)`)).join(' ')}`;
      return `${loads}\n${low}\n${high}`;
    });
    return `${dots}\n${[0, 1].map((h) => addDot16(`s${h}`, `t${h}`, 'ones')).join(' ')}`;
  }
  return unroll(4, (v) => {
    const loads = `codes0 = v128.load(w, ${32 * v}); codes1 = v128.load(w, ${32 * v + 16});`;
    const operands = [
      (codes: string) => `v128.and(${codes}, nibble0)`,
      (codes: string) => `v128.and(${codes}, nibble2)`,
      (codes: string) => `v128.and(${codes}, nibble1)`,
      (codes: string) => `i16x8.shr_u(${codes}, 12)`,
    ];
    const dots = operands.map(
      (operand, i) =>
        `x = ${splat32('a', 16 * v + 4 * i)}; ${[0, 1].map((h) => addDot16(`s${h}`, operand(`codes${h}`), 'x')).join(' ')}`,
    );
    return `${loads}\n${dots.join('\n')}`;
  });
}

/** Signed activations first, then codes of at most 7 bits: for those all engines agree. 8 dots of pairs fit 16 bits. */
function chain(half: number, first: boolean, codes: string): string {
  const dot = `i16x8.relaxed_dot_i8x16_i7x16_s(x, ${codes})`;
  return first ? `t${half} = ${dot};` : `t${half} = i16x8.add(t${half}, ${dot});`;
}

/** Blocks to operands of 16-bit products, `[pair of columns][half][8]`, with what was added to the codes taken off again. */
export function expandSource(nibbles: boolean): string {
  const body = nibbles
    ? unroll(4, (v) =>
        unroll(2, (h) => {
          const operand = (expression: string, pair: number) =>
            `v128.store(out, i16x8.sub(${expression}, center), ${32 * pair + 16 * h});`;
          return [
            `codes = v128.load(w, ${32 * v + 16 * h});`,
            operand('v128.and(codes, nibble)', 2 * v),
            operand('v128.and(i16x8.shr_u(codes, 8), nibble)', 2 * v + 1),
            operand('v128.and(i16x8.shr_u(codes, 4), nibble)', PAIRS / 2 + 2 * v),
            operand('i16x8.shr_u(codes, 12)', PAIRS / 2 + 2 * v + 1),
          ].join('\n');
        }),
      )
    : unroll(2 * PAIRS, (i) => `v128.store(out, v128.load8x8_s(w, ${8 * i}), ${16 * i});`);
  return `
function expand(w: usize, blocks: i32, out: usize): void {
  ${nibbles ? `const nibble = i16x8.splat(<i16>NIBBLE), center = i16x8.splat(<i16>NIBBLE_CENTER);\nlet codes: v128;` : ''}
  do {
${body}
    w += ${int8BlockBytes(nibbles ? 'nibble' : 'byte')}; out += ${32 * PAIRS};
  } while (--blocks);
}
`.replaceAll('function expand', `function ${nibbles ? 'nibble' : 'byte'}Expand`);
}

export const OPERAND_CONSTANTS = `
export let NIBBLE_CENTER: i32 = ${NIBBLE_CENTER};
export let LOWEST_CODE: i32 = -127;
`;
