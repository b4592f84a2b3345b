import { GGML_TYPES } from '@halftone/tensor';
import { BLOCK, blockBytes, headerBytes, PANEL } from '../../src/internal/layout.js';
import { blockForm } from '../../src/internal/stored-types.js';
import { SPREADS, SUPER_BLOCKS, type SuperType } from '../ggml/super-blocks.js';
import { unroll } from '../unroll.js';
import { ofRows, storeColumns } from './vectors.js';

export function superBlocksSource(): string {
  return CRUMBS + SPREADS + (Object.keys(SUPER_BLOCKS) as SuperType[]).map(kernel).join('');
}

/** Bytes of two codes to bytes of four: those of the upper eight bytes go between the bits of the lower ones. */
const CRUMBS = `
@inline function crumbs(pairs: v128): v128 {
  return v128.or(pairs, i16x8.shl(v128.shuffle<i64>(pairs, pairs, 1, 1), 2));
}
`;

function kernel(type: SuperType): string {
  const { layout } = blockForm(type);
  const { scale, min, scales, mins, block } = SUPER_BLOCKS[type];
  const step = blockBytes(layout);
  const { blockSize, blockBytes: fileBytes } = GGML_TYPES[type];
  const quads = (blockSize / BLOCK) * (layout.groups / 4);
  const factor = (offset: number) => ofRows((p) => `halves(i32x4.splat(load<u16>(${p}, ${offset})))`);
  return `
export function repack${type}(from: usize, rowBytes: usize, to: usize, blocks: i32, panels: i32): void {
  const nibbles = i32x4.splat(LOW_NIBBLES), pairs = i32x4.splat(LOW_PAIRS), bits = i32x4.splat(LOW_BITS), fours = i32x4.splat(FOURS);
  do {
    let block = from, count = blocks;
    do {
      let p0 = block, start = to, half = 2;
      do {
        const p1 = p0 + rowBytes, p2 = p1 + rowBytes, p3 = p2 + rowBytes;
        ${parameters(type, factor(scale), scales, 0, quads)}
        ${min === undefined || mins === undefined ? '' : parameters(type, factor(min).map(negative), mins, 32 * layout.groups, quads)}
        let out = start, b = 0;
        do {
          ${block}
          ${codes(type)}
          out += ${step};
        } while (++b < ${blockSize / BLOCK});
        p0 = p3 + rowBytes; start += 16;
      } while (--half);
      block += ${fileBytes}; to += ${(blockSize / BLOCK) * step};
    } while (--count);
    from += rowBytes << 3;
  } while (--panels);
}
`;
}

function negative(vector: string): string {
  return `f32x4.neg(${vector})`;
}

/** Scales or offsets of all groups of a super-block: a code times the row's factor, each rounded. */
function parameters(
  type: SuperType,
  factors: readonly string[],
  codesOf: (p: string, quad: number) => string,
  at: number,
  quads: number,
): string {
  const { layout } = blockForm(type);
  const offset = (group: number) =>
    Math.floor(group / layout.groups) * blockBytes(layout) + (group % layout.groups) * PANEL * 4 + at;
  const stores = unroll(quads, (quad) => {
    const rows = ofRows((p) => `f32x4.mul(${codesOf(p, quad)}, d${p})`);
    return storeColumns(
      rows,
      'start',
      [0, 1, 2, 3].map((group) => offset(4 * quad + group)),
    );
  });
  return `{
      const ${factors.map((expression, row) => `dp${row} = ${expression}`).join(', ')};
      ${stores}
    }`;
}

function codes(type: SuperType): string {
  const { layout } = blockForm(type);
  const { codes: codesOf, bias } = SUPER_BLOCKS[type];
  const header = headerBytes(layout);
  const offsets = (at: number) => [at, at + 32, at + 64, at + 96];
  if (typeof codesOf === 'object') return storeColumns(ofRows(codesOf.both), 'out', offsets(header));
  if (layout.storage === 'crumb') {
    const four = (p: string) => `crumbs(v128.or(${codesOf(p, 0)}, i16x8.shl(${codesOf(p, 1)}, 4)))`;
    return storeColumns(ofRows(four), 'out', offsets(header).slice(0, 2));
  }
  if (layout.storage === 'nibble') {
    const both = (p: string) => {
      const pair = `v128.or(${codesOf(p, 0)}, i16x8.shl(${codesOf(p, 1)}, 4))`;
      return bias === undefined ? pair : `i8x16.add(${pair}, ${bias})`;
    };
    return storeColumns(ofRows(both), 'out', offsets(header));
  }
  return unroll(2, (half) =>
    storeColumns(
      ofRows((p) => codesOf(p, half)),
      'out',
      offsets(header + 128 * half),
    ),
  );
}
