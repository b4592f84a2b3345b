import { GGML_TYPES, type GgmlType } from '@halftone/tensor';
import { blockBytes, headerBytes } from '../../src/internal/layout.js';
import { blockForm } from '../../src/internal/stored-types.js';
import { BLOCK_CODES, HALVED_POWERS, type PlainType } from '../ggml/blocks.js';
import { ofRows, storeColumns } from './vectors.js';

export function blocksSource(): string {
  return HALVED_POWERS + (Object.keys(BLOCK_CODES) as PlainType[]).map(kernel).join('');
}

function kernel(type: PlainType): string {
  const { layout } = blockForm(type);
  const header = headerBytes(layout);
  const codes = BLOCK_CODES[type].map((vector, half) => {
    const at = header + 128 * half;
    return storeColumns(ofRows(vector), 'out', [at, at + 32, at + 64, at + 96]);
  });
  const [float, word] = type === 'MXFP4' ? ['halvedPowers', 'u8'] : ['halves', 'u16'];
  const parameter = (at: number) => `${float}(lanes(${ofRows((p) => `load<${word}>(${p}, ${at})`).join(', ')}))`;
  return `
export function repack${type}(from: usize, rowBytes: usize, to: usize, blocks: i32, panels: i32): void {
  const nibbles = i32x4.splat(LOW_NIBBLES), sixteens = i32x4.splat(SIXTEENS), powers = i64x2.splat(POWERS);
  do {
    let block = from, count = blocks;
    do {
      let p0 = block, out = to, half = 2;
      do {
        const p1 = p0 + rowBytes, p2 = p1 + rowBytes, p3 = p2 + rowBytes;
        v128.store(out, ${parameter(0)});
        ${layout.offsets ? `v128.store(out, ${parameter(2)}, 32);` : ''}
        ${codes.join('\n        ')}
        p0 = p3 + rowBytes; out += 16;
      } while (--half);
      block += ${GGML_TYPES[type satisfies GgmlType].blockBytes}; to += ${blockBytes(layout)};
    } while (--count);
    from += rowBytes << 3;
  } while (--panels);
}
`;
}
