import { beforeAll, describe, expect, it } from 'vitest';
import { EXPONENTIAL_CONSTANTS, exponentialOf, exponentialSource } from '../../kernels/block/exponential.js';
import { compileSource } from '../../kernels/compile.js';
import { BUILDS } from '../product.js';

const COUNT = 1 << 18;
const AT = 65536;

describe.each(BUILDS)('exponential of four values, %s', (build) => {
  let exponentials: (values: Float32Array) => Float32Array;

  beforeAll(async () => {
    const source = `${exponentialSource(build)}
export function exponentials(x: usize, count: i32): void {
  ${EXPONENTIAL_CONSTANTS}
  do { v128.store(x, ${exponentialOf('v128.load(x)')}); x += 16; count -= 4; } while (count > 0);
}`;
    const memory = new WebAssembly.Memory({ initial: 32, maximum: 65536, shared: true });
    const module = new WebAssembly.Module(await compileSource(source, build));
    const kernel = new WebAssembly.Instance(module, { env: { memory } }).exports.exponentials as CallableFunction;
    exponentials = (values) => {
      const view = new Float32Array(memory.buffer, AT, values.length);
      view.set(values);
      kernel(AT, values.length);
      return view.slice();
    };
  });

  it('is within 2 ulp from 2^-125.5 on', () => {
    const x = Float32Array.from({ length: COUNT }, (_, i) => 88.72283 - (175.7 * i) / COUNT);
    const worst = exponentials(x).reduce((most, y, i) => {
      const exact = Math.exp(x[i]);
      return Math.max(most, Math.abs(y - exact) / 2 ** (Math.floor(Math.log2(exact)) - 23));
    }, 0);
    expect(worst).toBeLessThan(2);
  });

  it('is 1 at zeros and around, and right at the ends', () => {
    const x = [0, -0, 1e-45, -1e-45, 88.72283, 88.72284, 1e30, Infinity, -87.6, -104, -1e30, -Infinity];
    const y = exponentials(Float32Array.from(x));
    expect([...y.subarray(0, 4)]).toEqual([1, 1, 1, 1]);
    expect(Number.isFinite(y[4])).toBe(true);
    expect([...y.subarray(5)]).toEqual([Infinity, Infinity, Infinity, 0, 0, 0, 0]);
  });

  it('is NaN for every NaN', () => {
    const bits = Uint32Array.from({ length: 64 }, (_, i) => (i % 2 ? 0x7f800001 : 0xffc00000) + i * 0x1f3);
    expect(exponentials(new Float32Array(bits.buffer)).every(Number.isNaN)).toBe(true);
  });

  it('never falls where x rises', () => {
    const x = Float32Array.from({ length: COUNT }, (_, i) => -90 + (181 * i) / COUNT);
    const y = exponentials(x);
    expect(y.every((value, i) => i === 0 || value >= y[i - 1])).toBe(true);
  });
});
