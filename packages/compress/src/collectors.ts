/**
 * Streaming statistics of linear-layer inputs. All sums are float64. `merge` adds, so that calibration can be split
 * over workers or machines in any way with the same result up to rounding.
 */
import { type Collector, HalftoneError, type StatName } from '@halftone/tensor';

interface Sum {
  tokens: number;
  readonly values: Float64Array;
}

/** Mean of x² for each input channel: the diagonal of the Hessian, and llama.cpp's importance matrix. */
export function inputSquares(): Collector<Sum> {
  return channelCollector('inputSquares', (values, channel, x) => {
    values[channel] = (values[channel] as number) + x * x;
  });
}

/** Mean of |x| for each input channel, as AWQ uses it. */
export function inputAbsMean(): Collector<Sum> {
  return channelCollector('inputAbsMean', (values, channel, x) => {
    values[channel] = (values[channel] as number) + Math.abs(x);
  });
}

/** Largest |x| of each input channel, as SmoothQuant uses it. */
export function inputAbsMax(): Collector<Sum> {
  return {
    name: 'inputAbsMax',
    init: (inFeatures) => ({ tokens: 0, values: new Float64Array(inFeatures) }),
    update(state, x, rows) {
      const { values } = state;
      for (let i = 0; i < rows * values.length; i++) {
        const channel = i % values.length;
        values[channel] = Math.max(values[channel] as number, Math.abs(x[i] as number));
      }
      state.tokens += rows;
    },
    merge(into, from) {
      into.values.forEach((value, channel) => {
        into.values[channel] = Math.max(value, from.values[channel] as number);
      });
      into.tokens += from.tokens;
    },
    finish: (state) => ({ tokens: state.tokens, inputAbsMax: state.values }),
  };
}

/** Mean over tokens of `x xᵀ`: GPTQ's Hessian up to the factor 2. Costs `rows * in² / 2` multiplications an update. */
export function hessian(): Collector<Sum & { readonly size: number }> {
  return {
    name: 'hessian',
    init: (inFeatures) => ({ tokens: 0, values: new Float64Array(inFeatures * inFeatures), size: inFeatures }),
    update(state, x, rows) {
      const { values, size } = state;
      // Four tokens at a time: each element of the matrix is loaded once for four products.
      for (let row = 0; row < rows; row += 4) {
        const count = Math.min(4, rows - row);
        for (let i = 0; i < size; i++) {
          const a = x[row * size + i] as number;
          const b = count > 1 ? (x[(row + 1) * size + i] as number) : 0;
          const c = count > 2 ? (x[(row + 2) * size + i] as number) : 0;
          const d = count > 3 ? (x[(row + 3) * size + i] as number) : 0;
          accumulateRow(values, i * size, i, x, row * size, size, count, a, b, c, d);
        }
      }
      state.tokens += rows;
    },
    merge(into, from) {
      addInto(into, from);
    },
    finish(state) {
      const { values, size, tokens } = state;
      const full = new Float64Array(size * size);
      for (let i = 0; i < size; i++) {
        for (let j = 0; j <= i; j++) {
          const mean = (values[i * size + j] as number) / Math.max(tokens, 1);
          full[i * size + j] = mean;
          full[j * size + i] = mean;
        }
      }
      return { tokens, hessian: full };
    },
  };
}

/** Adds the products of one row of the lower triangle for up to four tokens. */
function accumulateRow(
  sums: Float64Array,
  target: number,
  last: number,
  x: Float32Array,
  from: number,
  size: number,
  count: number,
  a: number,
  b: number,
  c: number,
  d: number,
): void {
  if (count === 4) {
    for (let j = 0; j <= last; j++) {
      const at = from + j;
      sums[target + j] =
        (sums[target + j] as number) +
        a * (x[at] as number) +
        b * (x[at + size] as number) +
        c * (x[at + 2 * size] as number) +
        d * (x[at + 3 * size] as number);
    }
    return;
  }
  const factors = [a, b, c];
  for (let token = 0; token < count; token++) {
    const factor = factors[token] as number;
    for (let j = 0; j <= last; j++) {
      sums[target + j] = (sums[target + j] as number) + factor * (x[from + token * size + j] as number);
    }
  }
}

function channelCollector(
  name: 'inputSquares' | 'inputAbsMean',
  add: (values: Float64Array, channel: number, x: number) => void,
): Collector<Sum> {
  return {
    name,
    init: (inFeatures) => ({ tokens: 0, values: new Float64Array(inFeatures) }),
    update(state, x, rows) {
      const { values } = state;
      for (let row = 0, at = 0; row < rows; row++) {
        for (let channel = 0; channel < values.length; channel++, at++) add(values, channel, x[at] as number);
      }
      state.tokens += rows;
    },
    merge: addInto,
    finish: (state) => ({ tokens: state.tokens, [name]: state.values.map((sum) => sum / Math.max(state.tokens, 1)) }),
  };
}

function addInto(into: Sum, from: Sum): void {
  for (let i = 0; i < into.values.length; i++) into.values[i] = (into.values[i] as number) + (from.values[i] as number);
  into.tokens += from.tokens;
}

/** The collector of a statistic that a quantizer names in `needs`. */
export function collectorFor(name: StatName): Collector {
  const factories: Record<StatName, () => Collector> = {
    inputSquares: inputSquares as () => Collector,
    inputAbsMean: inputAbsMean as () => Collector,
    inputAbsMax: inputAbsMax as () => Collector,
    hessian: hessian as () => Collector,
  };
  const factory = factories[name];
  if (!factory) {
    throw new HalftoneError('UNSUPPORTED', `no collector for the statistic '${name}'; pass one in 'collectors'`, {
      where: 'calibrate',
    });
  }
  return factory();
}
