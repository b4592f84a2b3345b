import { FLOAT_TYPES } from '../../src/internal/stored-types.js';
import { ofRows, storeColumns } from './vectors.js';

type FloatType = (typeof FLOAT_TYPES)[number];

interface FloatReader {
  readonly bytes: number;
  /** Four values of a row. */
  readonly four: (pointer: string) => string;
  /** One element as it is stored, and the values of four such elements. */
  readonly element: (pointer: string) => string;
  readonly values: (elements: string) => string;
}

const TYPES: Readonly<Record<FloatType, FloatReader>> = {
  f32: { bytes: 4, four: (p) => `v128.load(${p})`, element: (p) => `load<u32>(${p})`, values: (words) => words },
  f16: words((vector) => `halves(${vector})`),
  bf16: words((vector) => `i32x4.shl(${vector}, 16)`),
};

function words(values: (vector: string) => string): FloatReader {
  return {
    bytes: 2,
    four: (p) => values(`v128.load16x4_u(${p})`),
    element: (p) => `load<u16>(${p})`,
    values,
  };
}

/** Rows to panels `[panel][column][8]`, with columns of zeros up to a multiple of four. */
export function floatsSource(): string {
  return FLOAT_TYPES.map(kernel).join('');
}

function kernel(type: FloatType): string {
  const { bytes, four, element, values } = TYPES[type];
  const advance = (count: number) => ofRows((p) => `${p} += ${count * bytes};`).join(' ');
  return `
export function repack${type}(from: usize, rowBytes: usize, to: usize, columns: i32, panels: i32): void {
  const zero = i32x4.splat(0), whole = columns >> 2, rest = columns & 3;
  const padded = rest ? 4 : 0, panelBytes = <usize>((columns + 3) & ~3) << 5;
  do {
    for (let half = 0; half < 2; half++) {
      let p0 = from, p1 = p0 + rowBytes, p2 = p1 + rowBytes, p3 = p2 + rowBytes, out = to + (<usize>half << 4);
      from = p3 + rowBytes;
      for (let i = whole; i > 0; i--) {
        ${storeColumns(ofRows(four), 'out', [0, 32, 64, 96])}
        ${advance(4)} out += 128;
      }
      for (let i = 0; i < padded; i++) {
        v128.store(out, i < rest ? ${values(`lanes(${ofRows(element).join(', ')})`)} : zero);
        ${advance(1)} out += 32;
      }
    }
    to += panelBytes;
  } while (--panels);
}
`;
}
