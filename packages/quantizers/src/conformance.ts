import {
  contiguousData,
  dequantize,
  type InputStatistics,
  isHalftoneError,
  type QuantizeContext,
  type QuantizedTensor,
  type Quantizer,
  sameShape,
  type Tensor,
  tensor,
  unpackCodes,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';

/** One check of a conformance kit. `run` rejects with an `Error` that says what differs. Runs in any test runner. */
export interface ConformanceCheck {
  readonly name: string;
  run(): Promise<void>;
}

export interface QuantizerCheckOptions {
  /** Columns of the test weights. Default 512: whole blocks for every ggml type. */
  readonly columns?: number;
  /** Rows of the test weights. Default 6. */
  readonly rows?: number;
}

const NAME = 'layers.3.conformance.weight';

/** Checks that every `Quantizer` must pass. `create` returns a new quantizer. */
export function quantizerChecks(create: () => Quantizer, options: QuantizerCheckOptions = {}): ConformanceCheck[] {
  const { columns = 512, rows = 6 } = options;
  const context: QuantizeContext = { name: NAME, statistics: exampleStatistics(columns) };
  const weight = exampleWeight(rows, columns);

  const quantized = async (input: Tensor<Float32Array>): Promise<QuantizedTensor> =>
    await create().quantize(input, context);
  const verify = async (input: Tensor<Float32Array>): Promise<Float32Array> => {
    const quantizer = create();
    const q = await quantizer.quantize(input, context);
    requireEqual(q.kind, 'quantized', 'kind');
    if (!sameShape(q.shape, input.shape)) throw new Error(`shape is [${q.shape}], the weight's is [${input.shape}]`);
    requireEqual(JSON.stringify(q.scheme), JSON.stringify(quantizer.scheme), 'scheme of the result');
    validateQuantized(q);
    requireCodesInRange(q);
    const values = dequantize(q);
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0)
      throw new Error(`element ${bad} decodes to ${values[bad]}; the weight is ${contiguousData(input)[bad]}`);
    return values;
  };

  return [
    {
      name: 'describes itself in JSON',
      async run() {
        const quantizer = create();
        if (quantizer.name === '') throw new Error('the name is empty');
        requireEqual(
          JSON.stringify(JSON.parse(JSON.stringify(quantizer.scheme))),
          JSON.stringify(quantizer.scheme),
          'scheme',
        );
        requireEqual(typeof quantizer.rowwise, 'boolean', 'type of rowwise');
      },
    },
    {
      name: 'gives parts that match its scheme and decode to something near the weight',
      async run() {
        const values = await verify(weight);
        let error = 0;
        let energy = 0;
        for (let i = 0; i < values.length; i++) {
          error += (values[i] - weight.data[i]) ** 2;
          energy += weight.data[i] ** 2;
        }
        if (!(error < energy)) throw new Error(`the squared error ${error} is not below that of all zeros, ${energy}`);
      },
    },
    {
      name: 'is deterministic and leaves the weight alone',
      async run() {
        const copy = tensor(weight.data.slice(), weight.shape);
        const first = dequantize(await quantized(copy));
        requireSameValues(copy.data, weight.data, 'the weight after quantizing');
        requireSameValues(dequantize(await quantized(copy)), first, 'a second run');
      },
    },
    {
      name: 'takes strided views',
      async run() {
        const wide = new Float32Array((rows + 1) * (columns + 3));
        for (let row = 0; row < rows; row++) {
          wide.set(weight.data.subarray(row * columns, (row + 1) * columns), row * (columns + 3) + 2);
        }
        const view = { data: wide, shape: [rows, columns], stride: [columns + 3, 1], offset: 2 };
        requireSameValues(dequantize(await quantized(view)), dequantize(await quantized(weight)), 'a strided view');
      },
    },
    {
      name: 'quantizes row ranges alone, where it says that it is rowwise',
      async run() {
        if (!create().rowwise) return;
        const whole = dequantize(await quantized(weight));
        for (const [start, end] of [
          [0, 1],
          [1, rows],
          [rows - 1, rows],
        ] as const) {
          const part = tensor(weight.data.slice(start * columns, end * columns), [end - start, columns]);
          requireSameValues(
            dequantize(await quantized(part)),
            whole.subarray(start * columns, end * columns),
            `rows ${start} to ${end}`,
          );
        }
      },
    },
    {
      name: 'takes a weight without rows',
      async run() {
        const q = await quantized(tensor(new Float32Array(0), [0, columns]));
        requireEqual(String(q.shape), `0,${columns}`, 'shape');
        requireEqual(unpackCodes(q.parts.codes).length, 0, 'number of codes');
      },
    },
    {
      name: 'decodes zeros to zeros',
      async run() {
        for (const zero of [0, -0]) {
          const values = await verify(tensor(new Float32Array(rows * columns).fill(zero), [rows, columns]));
          const bad = values.findIndex((value) => value !== 0);
          if (bad >= 0) throw new Error(`a weight of ${zero} decodes to ${values[bad]}`);
        }
      },
    },
    {
      name: 'stays finite on constant, one-hot, tiny and wide-ranging rows',
      async run() {
        for (const [name, fill] of HOSTILE) {
          const data = Float32Array.from({ length: rows * columns }, (_, i) => fill(i, columns));
          await verify(tensor(data, [rows, columns])).catch((error: unknown) => {
            throw new Error(`${name} rows: ${String(error)}`, { cause: error });
          });
        }
      },
    },
    {
      name: 'refuses values that are not finite with a NUMERIC error that names the tensor',
      async run() {
        for (const value of [Number.NaN, Infinity, -Infinity]) {
          const data = weight.data.slice();
          data[columns + 5] = value;
          await requireNumericError(() => create().quantize(tensor(data, weight.shape), context), `${value}`);
        }
      },
    },
    {
      name: 'answers weights near the end of float32 with finite values or a NUMERIC error',
      async run() {
        const huge = tensor(
          weight.data.map((value) => Math.sign(value) * 3e38),
          weight.shape,
        );
        try {
          await verify(huge);
        } catch (error) {
          if (!isHalftoneError(error) || error.code !== 'NUMERIC') throw error;
        }
      },
    },
  ];
}

/** Rows that break careless scale choices: names and values by element index. */
const HOSTILE: readonly (readonly [string, (index: number, columns: number) => number])[] = [
  ['constant', () => 0.37],
  ['negative constant', () => -0.37],
  ['one-hot', (i, columns) => (i % columns === 3 ? 1 : 0)],
  ['negative one-hot', (i, columns) => (i % columns === 9 ? -1 : 0)],
  ['denormal', (i) => (i % 7) * 1e-45],
  ['tiny', (i) => ((i % 13) - 6) * 1e-12],
  ['below float16', (i) => ((i % 13) - 6) * 1e-9],
  ['wide range', (i) => (i % 2 === 0 ? 1 : -1) * 10 ** -(i % 30)],
  ['alternating signs', (i) => (i % 2 === 0 ? 1000 : -1000)],
];

/** Normal weights with a few outliers, from a fixed generator. */
function exampleWeight(rows: number, columns: number): Tensor<Float32Array> {
  let state = 7;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  const data = new Float32Array(rows * columns);
  for (let i = 0; i < data.length; i++) {
    const normal = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    data[i] = 0.02 * normal * (uniform() < 0.01 ? 5 : 1);
  }
  return tensor(data, [rows, columns]);
}

function exampleStatistics(columns: number): InputStatistics {
  const squares = Float64Array.from({ length: columns }, (_, i) => 0.5 + ((i * 37) % 23) / 10);
  const hessian = new Float64Array(columns * columns);
  for (let i = 0; i < columns; i++) hessian[i * columns + i] = squares[i];
  return {
    tokens: 100,
    inputSquares: squares,
    inputAbsMean: squares.map((v) => 0.8 * Math.sqrt(v)),
    inputAbsMax: squares.map((v) => 4 * Math.sqrt(v)),
    hessian,
  };
}

function requireCodesInRange(q: QuantizedTensor): void {
  const { grid } = q.scheme;
  const signed = grid.type === 'affine' && grid.signed;
  const bits = grid.type === 'float' ? 1 + grid.exponent + grid.mantissa : grid.bits;
  const low = signed ? -(2 ** (bits - 1)) : 0;
  requireWithin('code', unpackCodes(q.parts.codes), low, low + 2 ** bits - 1);
  if (q.parts.signs !== undefined) requireWithin('sign', unpackCodes(q.parts.signs), 0, 1);
}

function requireWithin(name: string, codes: ArrayLike<number>, low: number, high: number): void {
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] < low || codes[i] > high) {
      throw new Error(`${name} ${codes[i]} of element ${i} is outside ${low} .. ${high}`);
    }
  }
}

async function requireNumericError(run: () => unknown, what: string): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!isHalftoneError(error) || error.code !== 'NUMERIC') throw error;
    if (!error.message.includes(NAME))
      throw new Error(`the error for ${what} does not name the tensor: ${error.message}`);
    return;
  }
  throw new Error(`a weight of ${what} was accepted`);
}

function requireSameValues(actual: Float32Array, expected: Float32Array, what: string): void {
  requireEqual(actual.length, expected.length, `elements of ${what}`);
  const bad = actual.findIndex((value, i) => value !== expected[i]);
  if (bad >= 0) throw new Error(`${what} differs at element ${bad}: ${actual[bad]} instead of ${expected[bad]}`);
}

function requireEqual(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what} is ${String(actual)}, expected ${String(expected)}`);
}
