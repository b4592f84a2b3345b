import { algebraTile } from '../../src/internal/algebra/blocking.js';
import { type Build, unroll } from '../unroll.js';
import type { Element } from './element.js';

/**
 * Operands in the order in which the multiplying kernel reads them: `[tile][depth][width]`, with zeros where a tile reaches
 * beyond the matrix. Element `(i, p)` lies at `x + i * rowStep + p * depthStep` (bytes, may be negative), `i` counting along
 * the tile and `p` along the sum, so that one kernel packs plain and transposed operands.
 */
export function packSource(build: Build, element: Element): string {
  const { rows, columns } = algebraTile(build, element.bytes);
  return [
    pack(`packRows${element.suffix}`, element, rows),
    pack(`packColumns${element.suffix}`, element, columns),
  ].join('');
}

function pack(name: string, { scalar, bytes }: Element, width: number): string {
  return `
export function ${name}(x: usize, rowStep: i32, depthStep: i32, rows: i32, depth: i32, out: usize, tiles: i32): void {
  do {
    const left = min(rows, ${width});
    if (left == ${width} && rowStep == ${bytes}) {
      let from = x, p = depth;
      do {
${copy(width * bytes)}
        from += <usize>depthStep; out += ${width * bytes};
      } while (--p);
    } else if (left == ${width}) {
      let ${unroll(width, (i) => `p${i} = x + <usize>(${i} * rowStep)`, ', ')}, p = depth;
      do {
${unroll(width, (i) => `        store<${scalar}>(out, load<${scalar}>(p${i}), ${bytes * i}); p${i} += <usize>depthStep;`)}
        out += ${width * bytes};
      } while (--p);
    } else {
      for (let p = 0; p < depth; p++) {
        let from = x + <usize>(p * depthStep);
        for (let i = 0; i < ${width}; i++) {
          let value: ${scalar} = 0;
          if (i < left) value = load<${scalar}>(from);
          store<${scalar}>(out, value);
          from += <usize>rowStep; out += ${bytes};
        }
      }
    }
    x += <usize>(${width} * rowStep);
    rows -= ${width};
  } while (--tiles);
}
`;
}

/** `bytes` from `from` to `out`, in vectors and at last half a vector. */
function copy(bytes: number): string {
  const vectors = unroll(bytes >> 4, (i) => `        v128.store(out, v128.load(from, ${16 * i}), ${16 * i});`);
  return bytes % 16 === 0
    ? vectors
    : `${vectors}\n        store<u64>(out, load<u64>(from, ${bytes - 8}), ${bytes - 8});`;
}
