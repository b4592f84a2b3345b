import { type ActivationFormat, activationBytes, BLOCK, recordBytes } from '../../src/internal/layout.js';
import { type Build, unroll } from '../unroll.js';

/**
 * Activations to records of 32, `[block][row]`: `scale = max |x| / 127`, codes rounded to nearest. A block with a NaN or an
 * infinity has a scale that is not finite either, so that the products become NaN.
 */
export function activationsSource(build: Build): string {
  const formats =
    build === 'relaxed' ? (['bytes', 'words'] as const) : (['crumbWords', 'nibbleWords', 'words'] as const);
  return SUM_LANES + formats.map(quantizeSource).join('');
}

function quantizeSource(format: ActivationFormat): string {
  const bytes = activationBytes(format);
  const words = bytes > BLOCK;
  // Codes of 16-bit kernels are left in the upper byte of a word by masks, so that sums come out 256 times too large.
  const unit = words ? 256 : 1;
  const stride = recordBytes(format);
  return `
/** \`x [rows, 32 blocks]\` to \`rows\` of \`allRows\` rows; \`center\` is subtracted from the codes of the weight. */
export function ${format}Quantize(x: usize, rows: i32, allRows: i32, blocks: i32, center: i32, out: usize): void {
  const step = <usize>allRows * ${stride};
  let row = rows;
  do {
    let to = out, b = blocks;
    do {
      let m0 = f32x4.splat(0), m1 = m0;
${unroll(4, (i) => `      m0 = f32x4.max(m0, f32x4.abs(v128.load(x, ${32 * i}))); m1 = f32x4.max(m1, f32x4.abs(v128.load(x, ${32 * i + 16})));`)}
      m0 = f32x4.max(m0, m1);
      m0 = f32x4.max(m0, v128.shuffle<f32>(m0, m0, 2, 3, 0, 1));
      const largest = f32x4.extract_lane(f32x4.max(m0, v128.shuffle<f32>(m0, m0, 1, 0, 3, 2)), 0);
      const inverse = f32x4.splat(largest == 0 ? 0 : <f32>127 / largest), scale = largest * <f32>(1.0 / 127);
${unroll(8, (i) => `      const r${i} = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x, ${16 * i}), inverse)));`)}
${words ? storeWords(format) : storeBytes()}
      const sum0 = sumLanes(i32x4.add(i32x4.add(r0, r1), i32x4.add(r2, r3)));
      const sum1 = sumLanes(i32x4.add(i32x4.add(r4, r5), i32x4.add(r6, r7)));
      store<f32>(to, scale * <f32>${1 / unit}, ${bytes});
      store<i32>(to, -center * ${unit} * (sum0 + sum1), ${bytes + 4});
      store<i32>(to, -center * ${unit} * sum0, ${bytes + 8});
      store<i32>(to, -center * ${unit} * sum1, ${bytes + 12});
      store<f32>(to, scale * <f32>(sum0 + sum1), ${bytes + 16});
      store<f32>(to, scale * <f32>sum0, ${bytes + 20});
      store<f32>(to, scale * <f32>sum1, ${bytes + 24});
      x += 128; to += step;
    } while (--b);
    out += ${stride};
  } while (--row);
}
`;
}

const SUM_LANES = `
@inline function sumLanes(v: v128): i32 {
  return i32x4.extract_lane(v, 0) + i32x4.extract_lane(v, 1) + i32x4.extract_lane(v, 2) + i32x4.extract_lane(v, 3);
}
`;

/** Within four columns in the order 0, 2, 1, 3: masks take the even and the odd bytes of a weight vector. */
function storeWords(format: ActivationFormat): string {
  return unroll(4, (i) => {
    const words = `i16x8.narrow_i32x4_s(r${2 * i}, r${2 * i + 1})`;
    const ordered = `v128.shuffle<i16>(w${i}, w${i}, 0, 2, 1, 3, 4, 6, 5, 7)`;
    return `      const w${i} = ${words}; v128.store(to, ${scaleWords(format, i, ordered)}, ${16 * i});`;
  });
}

/** Times the factor that the masked codes of columns `8 i` to `8 i + 7` lack for a common one of 256. */
function scaleWords(format: ActivationFormat, i: number, words: string): string {
  if (format === 'crumbWords') return `i16x8.shl(${words}, ${8 - 2 * i})`;
  if (format !== 'nibbleWords') return words;
  const [even, odd] = i < 2 ? [256, 1] : [16, 256];
  return `i16x8.mul(${words}, i16x8(${[even, even, odd, odd, even, even, odd, odd].join(', ')}))`;
}

function storeBytes(): string {
  const words = (i: number) => `i16x8.narrow_i32x4_s(r${2 * i}, r${2 * i + 1})`;
  return unroll(
    2,
    (i) => `      v128.store(to, i8x16.narrow_i16x8_s(${words(2 * i)}, ${words(2 * i + 1)}), ${16 * i});`,
  );
}
