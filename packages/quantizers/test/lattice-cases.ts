/** Weights and error measures for comparing the IQ types with ggml's encoders. */
import { ggmlDequantize, ggmlQuantize } from '@halftone/llama-cpp-oracle';
import { dequantize, type GgmlType, type QuantizeContext, tensor } from '@halftone/tensor';
import { ggml } from '../src/index.js';
import { BOOKWORM, bookwormWeights, normalWeights, seededUniform } from './weights.js';

export interface Rows {
  readonly name: string;
  readonly values: Float32Array;
  readonly columns: number;
}

/** Rows that break careless scale choices. */
export function hostileRows(columns: number): Rows {
  const uniform = seededUniform(99);
  const rows: ((i: number) => number)[] = [
    () => 0,
    (i) => (i % 256 === 7 ? 1 : 0),
    (i) => (i % 32 === 9 ? -1 : 0),
    () => 0.25,
    () => -3,
    (i) => (i % 2 === 0 ? 1 : -1),
    (i) => (i % 32) - 16,
    (i) => (i < 256 ? 0 : ((i % 11) - 5) / 10),
    (i) => ((i % 9) - 4) * 1e-40,
    (i) => ((i % 9) - 4) * 1e4,
    () => (uniform() - 0.5) * 10 ** Math.round((uniform() - 0.5) * 6),
  ];
  const values = Float32Array.from({ length: rows.length * columns }, (_, i) =>
    rows[Math.floor(i / columns)](i % columns),
  );
  return { name: 'hostile rows', values, columns };
}

/** Normal weights, weights with outliers, hostile rows, and a real model where it is present. */
export function comparedRows(): Rows[] {
  const sources: Rows[] = [
    { name: 'normal weights', values: normalWeights(12 * 1024, 5), columns: 1024 },
    { name: 'weights with outliers', values: normalWeights(12 * 1024, 6, 0.02), columns: 1024 },
    hostileRows(512),
  ];
  if (BOOKWORM === undefined) return sources;
  const [{ columns, values }] = bookwormWeights();
  return [...sources, { name: 'bookworm-29m', values: values.slice(0, 12 * columns), columns }];
}

/** Importances that differ by orders of magnitude. */
export function exampleImportance(columns: number): Float32Array {
  return normalWeights(columns, 8).map((normal) => Math.exp(50 * normal));
}

/** The weights of the squared error that ggml's encoder minimises. Source: ggml-quants.c. */
export function ggmlErrorWeights(type: GgmlType, { values, columns }: Rows, importance?: Float32Array): Float64Array {
  const span = type === 'IQ4_NL' ? 32 : 256;
  const variance = type === 'IQ2_XXS' || type === 'IQ2_XS' ? 1 : 2;
  const weights = new Float64Array(values.length);
  for (let start = 0; start < values.length; start += span) {
    let squares = 0;
    for (let i = start; i < start + span; i++) squares += values[i] ** 2 / span;
    for (let i = start; i < start + span; i++) {
      const square = values[i] ** 2;
      if (importance !== undefined) weights[i] = importance[i % columns] * Math.sqrt(variance * squares + square);
      else weights[i] = square + (type === 'IQ2_S' ? squares / 2 : 0);
    }
  }
  return weights;
}

/** Weighted squared errors of both encoders, and their plain ones. */
export function compareErrors(type: GgmlType, rows: Rows, importance?: Float32Array) {
  const { values, columns } = rows;
  const count = values.length / columns;
  const statistics = importance && { tokens: 1, inputSquares: Float64Array.from(importance) };
  const context: QuantizeContext = { name: rows.name, statistics };
  const ours = dequantize(ggml(type).quantize(tensor(values, [count, columns]), context));
  const theirs = ggmlDequantize(type, ggmlQuantize(type, values, count, columns, importance), values.length);
  const weights = ggmlErrorWeights(type, rows, importance);
  const error = (decoded: Float32Array, weight: (i: number) => number) =>
    decoded.reduce((sum, value, i) => sum + weight(i) * (value - values[i]) ** 2, 0);
  return {
    ours: error(ours, (i) => weights[i]),
    theirs: error(theirs, (i) => weights[i]),
    oursPlain: error(ours, () => 1),
    theirsPlain: error(theirs, () => 1),
  };
}
