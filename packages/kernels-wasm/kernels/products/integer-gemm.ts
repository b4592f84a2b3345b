import {
  activationBytes,
  activationFormat,
  blockBytes,
  EXPANDED_BYTES,
  hasTable,
  headerBytes,
  type Layout,
  layoutName,
  RECORD_ROWS as ROWS,
  recordBytes,
  type Storage,
} from '../../src/internal/layout.js';
import { addDot16, type Build, splat32, unroll } from '../unroll.js';
import { addGroup, start } from './block-sums.js';
import { byteChain, byteDot, byteMasks, codeVectors, fields, wordMasks, wordSources } from './codes.js';
import { layouts } from './layouts.js';

/** Many rows of quantized activations. The sums of a panel, `[row][8]`, lie in scratch memory. */
export function integerGemmSource(build: Build): string {
  const all = layouts(build);
  const words = all.filter(({ storage }) => activationFormat(build, storage) !== 'bytes');
  return [
    ...new Set(words.map(({ storage }) => expandSource(build, storage))),
    ...words.filter(({ storage }) => storage === 'byte').map((layout) => wordBlockSource(build, layout)),
    ...all.map((layout) => gemmSource(build, layout)),
  ].join('');
}

function gemmSource(build: Build, layout: Layout): string {
  const { storage } = layout;
  const format = activationFormat(build, storage);
  const bytes = format === 'bytes';
  const table = hasTable(storage) ? ', tables: usize' : '';
  const multiply = bytes
    ? byteBlock(build, layout)
    : `      ${storage}Expand(w + ${headerBytes(layout)}, operands${table && ', tables'}); ${blockName(layout)}(operands, w, block, scratch, allRows);`;
  return `
/** There are records of \`allRows\` rows; \`scratch\` holds their sums, then ${EXPANDED_BYTES} bytes. */
export function ${layoutName(layout)}Gemm(w: usize, records: usize, out: usize, rows: i32, allRows: i32, panels: i32, blocks: i32, bias: usize, features: i32, stride: i32, scratch: usize${table}): void {
  ${bytes ? byteMasks(storage) : 'const operands = scratch + (<usize>allRows << 5);'}
  do {
    let block = records, b = blocks;
    fillSums(scratch, bias, allRows);
    do {
${multiply}
      w += ${blockBytes(layout)}; block += <usize>allRows * ${recordBytes(format)};
    } while (--b);
    storeSums(scratch, out, rows, stride, features);
    bias += 32; out += 32; features -= 8;
  } while (--panels);
}
`;
}

/** Expanded operands are multiplied in the same way whatever they were expanded from. */
function blockName(layout: Layout): string {
  return `${layoutName({ ...layout, storage: 'byte' })}Block`;
}

/** Operands of a block, `[pair][half]`, in the order of the activations. */
function expandSource(build: Build, storage: Storage): string {
  const vectors = unroll(codeVectors(storage), (vector) => {
    const stores = wordSources(build, storage, vector).map(({ expression, operands }) => {
      const to = operands.flatMap((operand) =>
        [0, 1].map((h) => `v128.store(out, ${operand.expression(`from${h}`)}, ${32 * operand.pair + 16 * h});`),
      );
      return `  from0 = ${expression('codes0')}; from1 = ${expression('codes1')}; ${to.join(' ')}`;
    });
    const load = `codes0 = v128.load(codes, ${32 * vector}); codes1 = v128.load(codes, ${32 * vector + 16});`;
    return `  ${load}\n${stores.join('\n')}`;
  });
  return `
function ${storage}Expand(codes: usize, out: usize${hasTable(storage) ? ', tables: usize' : ''}): void {
  ${wordMasks(storage)}
  ${hasTable(storage) ? 'const table = v128.load(tables);' : ''}
  let codes0: v128, codes1: v128, from0: v128, from1: v128;
${vectors}
}
`;
}

/** A block of 8 features times all rows, four rows at a time, one group of columns after the other. */
function wordBlockSource(build: Build, layout: Layout): string {
  const { groups } = layout;
  const stride = recordBytes('words');
  const tail = (row: number) => row * stride + activationBytes('words');
  const products = unroll(4, (pair) => {
    const rows = unroll(
      ROWS,
      (i) =>
        `        x = ${splat32('xp', stride * i + 4 * pair)}; ${addDot16(`s${i}0`, 'w0', 'x')} ${addDot16(`s${i}1`, 'w1', 'x')}`,
    );
    return `        w0 = v128.load(operand, ${32 * pair}); w1 = v128.load(operand, ${32 * pair + 16});\n${rows}`;
  });
  const group = (g: number) => `    {
      let ${unroll(ROWS, (i) => `s${i}0 = ${start(layout, g, tail(i))}, s${i}1 = s${i}0`, ', ')};
      let z = ${4 / groups};
      do {
${products}
        operand += 128; xp += 16;
      } while (--z);
${unroll(ROWS, (i) => finishRow(build, layout, g, i, tail(i)))}
    }`;
  return `
function ${blockName(layout)}(operands: usize, w: usize, a: usize, c: usize, rows: i32): void {
  do {
    let w0: v128, w1: v128, x: v128, sum: v128, operand = operands, xp = a;
${unroll(groups, group)}
    a += ${ROWS * stride}; c += ${ROWS * 32};
  } while ((rows -= ${ROWS}) > 0);
}
`;
}

function finishRow(build: Build, layout: Layout, group: number, row: number, tail: number): string {
  const halves = [0, 1].map((h) => {
    const at = 32 * row + 16 * h;
    const add = addGroup(build, layout, group, h, 'sum', `s${row}${h}`, 'x', tail);
    return `sum = v128.load(c, ${at}); ${add} v128.store(c, sum, ${at});`;
  });
  return `      x = ${splat32('a', tail)}; ${halves.join(' ')}`;
}

/** The block at `w` with its codes in registers: 4 features at a time, then over the rows. */
function byteBlock(build: Build, layout: Layout): string {
  const { storage, groups } = layout;
  const tail = activationBytes('bytes');
  const chain = Math.min(byteChain(storage), 8 / groups);
  const product = (i: number) => byteDot(`w${i}`, splat32('a', 4 * i));
  const integers = (g: number) => {
    const first = (8 / groups) * g;
    const sums = Array.from({ length: 8 / groups / chain }, (_, i) => {
      const words = tree(
        'i16x8.add',
        Array.from({ length: chain }, (_, j) => product(first + i * chain + j)),
      );
      return `i32x4.dot_i16x8_s(${words}, ones)`;
    });
    return tree('i32x4.add', [...sums, start(layout, g, tail)]);
  };
  return unroll(2, (h) => {
    const load = unroll(codeVectors(storage), (v) => {
      const operands = fields(storage, v).map(({ expression, index }) => `w${index} = ${expression('codes')}`);
      return `        codes = v128.load(w, ${headerBytes(layout) + 32 * v + 16 * h}); const ${operands.join(', ')};`;
    });
    const finish = unroll(
      groups,
      (g) => `          ${addGroup(build, layout, g, h, 'sum', integers(g), 'scale', tail)}`,
    );
    return `      {
        let codes: v128;
${load}
        let a = block, cp = scratch, row = rows;
        do {
          const scale = ${splat32('a', tail)};
          let sum = v128.load(cp, ${16 * h});
${finish}
          v128.store(cp, sum, ${16 * h});
          a += ${recordBytes('bytes')}; cp += 32;
        } while (--row);
      }`;
  });
}

/** A balanced sum. */
function tree(add: string, terms: readonly string[]): string {
  if (terms.length === 1) return terms[0];
  const middle = Math.ceil(terms.length / 2);
  return `${add}(${tree(add, terms.slice(0, middle))}, ${tree(add, terms.slice(middle))})`;
}
