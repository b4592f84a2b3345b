import { PIECE } from '../../src/internal/layout.js';
import { type Build, multiplyAdd } from '../unroll.js';
import { EXPONENTIAL_CONSTANTS, exponentialOf, exponentialOfSum } from './exponential.js';
import { vectors } from './vectors.js';

type MultiplyAdd = (a: string, b: string, c: string) => string;

/**
 * Activations, with a factor or without, and sums. Items of a job are pieces of `PIECE` values; `first` is the index of the
 * first value among all `length`. A value goes through the same instructions wherever it stands.
 */
export function elementwiseSource(build: Build): string {
  const madd: MultiplyAdd = (a, b, c) => multiplyAdd(build, a, b, c);
  const kernels = ACTIVATIONS.flatMap((activation) => [
    kernel(activation, false, madd),
    kernel(activation, true, madd),
  ]);
  return `
export let UPPER_BITS: i32 = 0xfffff000;
${CONSTANTS.map(([name, value]) => `export let ${name}32: f32 = ${value};`).join('\n')}
${kernels.join('')}

/** \`x += y\` */
export function add(x: usize, y: usize, first: i32, pieces: i32, length: i32): void {
  const count = min(pieces * ${PIECE}, length - first);
  ${vectors('count', ['x', 'y'], (at) => `v128.store(x, f32x4.add(v128.load(x, ${at}), v128.load(y, ${at})), ${at});`)}
  for (let i = count & 3; i > 0; i--) {
    store<f32>(x, load<f32>(x) + load<f32>(y));
    x += 4; y += 4;
  }
}
`;
}

/**
 * The tail of the normal distribution is `exp(-t^2 / 2) s P(s)` with `s = 1 / (1 + 0.305 t)`. The polynomial P of degree 7 has
 * the smallest relative error, 1e-7, for t from 0 to 14.5; beyond, the tail is 0 in float32.
 */
const TAIL = [
  '0.12164024263620377',
  '0.12245868146419525',
  '0.10347369313240051',
  '0.1208403930068016',
  '-0.0376206710934639',
  '0.18531490862369537',
  '-0.1527460813522339',
  '0.03663886711001396',
];
const TAIL_NAMES = TAIL.map((_, i) => `tail${i}`);
const SILU = ['one'];
const GELU = ['one', 'farthest', 'slope', 'minusHalf', ...TAIL_NAMES];
const GELU_TANH = ['one', 'linear', 'cubic'];

const CONSTANTS: readonly (readonly [name: string, value: string])[] = [
  ['one', '1'],
  ['farthest', '14.5'],
  ['slope', '0.305'],
  ['minusHalf', '-0.5'],
  ...TAIL.map((value, i) => [TAIL_NAMES[i], value] as const),
  // -2 sqrt(2 / pi), and 0.044715 times that.
  ['linear', '-1.5957691216057308'],
  ['cubic', '-0.07135481627260025'],
];

interface Activation {
  readonly name: string;
  readonly constants: readonly string[];
  /** Sets `y` from `v`. */
  readonly body: (madd: MultiplyAdd) => string;
}

const ACTIVATIONS: readonly Activation[] = [
  {
    name: 'silu',
    constants: SILU,
    body: () => `y = f32x4.div(v, f32x4.add(one, ${exponentialOf('f32x4.neg(v)')}));`,
  },
  {
    name: 'gelu',
    constants: GELU,
    // The upper half of t has 12 bits, so that its square is exact.
    body: (madd) => `
    const t = f32x4.pmin(f32x4.abs(v), farthest), upper = v128.and(t, upperBits), half = f32x4.mul(upper, minusHalf);
    const rest = f32x4.mul(f32x4.mul(f32x4.sub(t, upper), minusHalf), f32x4.add(t, upper));
    const s = f32x4.div(one, ${madd('t', 'slope', 'one')});
    let p = ${TAIL_NAMES[TAIL.length - 1]};
    ${TAIL_NAMES.slice(0, -1)
      .reverse()
      .map((name) => `p = ${madd('p', 's', name)};`)
      .join(' ')}
    const tail = f32x4.mul(f32x4.mul(p, s), ${exponentialOfSum('f32x4.mul(half, upper)', 'rest')});
    y = f32x4.mul(v, v128.bitselect(tail, f32x4.sub(one, tail), i32x4.shr_s(v, 31)));`,
  },
  {
    name: 'geluTanh',
    constants: GELU_TANH,
    // 1 + tanh(u) = 2 / (1 + exp(-2 u))
    body: (madd) => `
    const z = f32x4.mul(v, ${madd('f32x4.mul(v, v)', 'cubic', 'linear')});
    y = f32x4.div(v, f32x4.add(one, ${exponentialOf('z')}));`,
  },
];

function kernel({ name, constants, body }: Activation, gated: boolean, madd: MultiplyAdd): string {
  const result = (factor: string) => (gated ? `f32x4.mul(y, ${factor})` : 'y');
  return `
export function ${name}${gated ? 'Gated' : ''}(x: usize, factor: usize, first: i32, pieces: i32, length: i32): void {
  const count = min(pieces * ${PIECE}, length - first);
  ${EXPONENTIAL_CONSTANTS}
  ${constants.map((constant) => `const ${constant} = f32x4.splat(${constant}32);`).join(' ')}
  ${name === 'gelu' ? 'const upperBits = i32x4.splat(UPPER_BITS);' : ''}
  let y: v128, n = count >> 2;
  if (n) do {
    const v = v128.load(x);
    ${body(madd)}
    v128.store(x, ${result('v128.load(factor)')});
    x += 16;${gated ? ' factor += 16;' : ''}
  } while (--n);
  const left = count & 3;
  if (left) {
    const v = loadPart(x, left, f32x4.splat(0));
    ${body(madd)}
    storePart(x, left, ${result('loadPart(factor, left, f32x4.splat(0))')});
  }
}
`;
}
