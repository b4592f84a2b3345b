import {
  activationBytes,
  activationFormat,
  blockBytes,
  hasTable,
  headerBytes,
  type Layout,
  layoutName,
  recordBytes,
} from '../../src/internal/layout.js';
import { addDot16, type Build, splat32, unroll } from '../unroll.js';
import { addGroup, start } from './block-sums.js';
import { byteChain, byteDot, byteMasks, codeVectors, fields, wordMasks, wordSources } from './codes.js';
import { layouts } from './layouts.js';

/** One row of quantized activations. Lanes are output features, so no sum runs across a vector. */
export function integerGemvSource(build: Build): string {
  return (
    TOUCH +
    layouts(build)
      .map((layout) => gemvSource(build, layout))
      .join('')
  );
}

/** Reads a word of each cache line, and keeps their sum so that no optimizer leaves the reads out. */
const TOUCH = `
export let TOUCHED: i32 = 0;

function touch(p: usize, bytes: usize): void {
  const end = p + bytes;
  let sum = 0;
  for (; p + 192 < end; p += 256) sum += load<i32>(p) + load<i32>(p, 64) + load<i32>(p, 128) + load<i32>(p, 192);
  for (; p < end; p += 64) sum += load<i32>(p);
  TOUCHED = sum;
}
`;

function gemvSource(build: Build, layout: Layout): string {
  const { storage, groups } = layout;
  const format = activationFormat(build, storage);
  const bytes = format === 'bytes';
  const tail = activationBytes(format);
  const finish = [0, 1].flatMap((h) =>
    Array.from(
      { length: groups },
      (_, g) => `      ${addGroup(build, layout, g, h, `acc${h}`, `s${h}${g}`, 'scale', tail)}`,
    ),
  );
  return `
export function ${layoutName(layout)}Gemv(w: usize, records: usize, out: usize, panels: i32, blocks: i32, bias: usize, features: i32, ahead: usize${hasTable(storage) ? ', tables: usize' : ''}): void {
  ${bytes ? byteMasks(storage) : wordMasks(storage)}
  ${hasTable(storage) ? 'const table = v128.load(tables);' : ''}
  do {
    if (ahead) touch(w, ahead);
    let acc0 = v128.load(bias), acc1 = v128.load(bias, 16), a = records, b = blocks;
    do {
      let codes0: v128, codes1: v128, from0: v128, from1: v128, x: v128;
${unroll(groups, (g) => `      let s0${g} = ${start(layout, g, tail)}, s1${g} = s0${g};`)}
${bytes ? byteProducts(layout) : wordProducts(build, layout)}
      const scale = ${splat32('a', tail)};
${finish.join('\n')}
      w += ${blockBytes(layout)}; a += ${recordBytes(format)};
    } while (--b);
    storeFeatures(out, acc0, acc1, features);
    bias += 32; out += 32; features -= 8;
  } while (--panels);
}
`;
}

function loadCodes(layout: Layout, vector: number): string {
  const at = headerBytes(layout) + 32 * vector;
  return `codes0 = v128.load(w, ${at}); codes1 = v128.load(w, ${at + 16});`;
}

function wordProducts(build: Build, layout: Layout): string {
  const { storage, groups } = layout;
  return unroll(codeVectors(storage), (vector) => {
    const products = wordSources(build, storage, vector).flatMap(({ expression, operands }) => [
      `      from0 = ${expression('codes0')}; from1 = ${expression('codes1')};`,
      ...operands.map((operand) => {
        const g = groups === 1 ? 0 : operand.pair >> 3;
        const dots = [0, 1].map((h) => addDot16(`s${h}${g}`, operand.expression(`from${h}`), 'x'));
        return `      x = ${splat32('a', 4 * operand.pair)}; ${dots.join(' ')}`;
      }),
    ]);
    return `      ${loadCodes(layout, vector)}\n${products.join('\n')}`;
  });
}

/** Sums in 16 bits for as long as they fit: `t` by chains of operands. */
function byteProducts(layout: Layout): string {
  const { storage, groups } = layout;
  const chain = Math.min(byteChain(storage), 8 / groups);
  const operands = Array.from({ length: codeVectors(storage) }, (_, vector) =>
    fields(storage, vector).map((operand) => ({ ...operand, vector })),
  ).flat();
  const seen = new Map<number, number>();
  let loaded = -1;
  const statements = operands.map(({ expression, index, vector }) => {
    const at = Math.floor(index / chain);
    const count = (seen.get(at) ?? 0) + 1;
    seen.set(at, count);
    const g = groups === 1 ? 0 : index >> 2;
    const sums = [0, 1].map((h) => {
      const product = byteDot(expression(`codes${h}`), 'x');
      const sum = count === 1 ? product : `i16x8.add(t${h}${at}, ${product})`;
      if (count < chain) return `${count === 1 ? 'let ' : ''}t${h}${at} = ${sum};`;
      return addDot16(`s${h}${g}`, sum, 'ones');
    });
    const load = vector === loaded ? '' : `      ${loadCodes(layout, vector)}\n`;
    loaded = vector;
    return `${load}      x = ${splat32('a', 4 * index)}; ${sums.join(' ')}`;
  });
  return statements.join('\n');
}
