import { dequantize, encode, type PackedTensor, packed, type QuantizedTensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { vptq } from '../../src/layouts.js';
import { bitStream } from '../support/bit-stream.js';
import { expectFailure } from '../support/files.js';
import { openLayout, packedFile, readWeight } from '../support/layout-file.js';
import { numbers } from '../support/sample-weights.js';

interface Layer {
  readonly rows: number;
  readonly groups: number;
  readonly groupColumns: number;
  readonly length: number;
  readonly centroids: number;
  readonly residual?: number;
  readonly outliers?: { readonly columns: number; readonly length: number; readonly centroids: number };
  readonly packed: boolean;
  readonly order?: boolean;
  readonly norm?: boolean;
}

/** A layer as vptq stores it, its settings, and its weight by the definition. */
function layer(sizes: Layer) {
  const { rows, groups, groupColumns, length, centroids, residual = -1, outliers } = sizes;
  const next = numbers(11 + rows);
  const value = () => (next(4001) - 2000) / 512;
  const columns = groups * groupColumns + (outliers?.columns ?? 0);
  const vectors = Math.ceil(rows / length);
  const tensors = new Map<string, PackedTensor>();
  const book = (name: string, lines: number, entries: number, size: number): number[] => {
    const values = Array.from({ length: lines * entries * size }, value);
    tensors.set(`m.q.${name}.weight`, encode(values, 'f16', [lines, entries * size]));
    return values;
  };
  // Both ends of the table, then anything.
  const index = (limit: number, i: number) => (i < 2 ? ([limit - 1, 0][i] as number) : next(limit));
  const place = (group: number, vector: number, column: number) => (group * vectors + vector) * groupColumns + column;
  const main = book('centroids', groups, centroids, length);
  const indices = Array.from({ length: groups * vectors * groupColumns }, (_, i) => index(centroids, i));
  const rest = residual > 0 ? book('res_centroids', groups, residual, length) : undefined;
  const restIndices = indices.map((_, i) => (residual > 0 ? index(residual, i) : 0));
  const words16 = (values: readonly number[], shape: readonly number[]) =>
    packed('i16', shape, new Uint8Array(Uint16Array.from(values).buffer));
  if (sizes.packed) {
    const [bits, extraBits] = [Math.log2(centroids), residual > 0 ? Math.log2(residual) : 0];
    const lines: number[] = [];
    for (let line = 0; line < groups * vectors; line++) {
      const row = indices.slice(line * groupColumns, (line + 1) * groupColumns);
      const fields = row.flatMap((code, i) => [
        [code, bits] as const,
        [restIndices[line * groupColumns + i] as number, extraBits] as const,
      ]);
      lines.push(...bitStream(fields));
    }
    tensors.set(
      'm.q.indices',
      packed('i32', [groups, vectors, lines.length / 4 / groups / vectors], Uint8Array.from(lines)),
    );
  } else {
    tensors.set('m.q.indices', words16(indices, [groups, vectors, groupColumns]));
    if (rest) tensors.set('m.q.res_indices', words16(restIndices, [groups, vectors, groupColumns]));
  }
  const stored = (row: number, column: number, first: number): number => {
    const [group, i] = [Math.floor((column - first) / groupColumns), (column - first) % groupColumns];
    const at = place(group, Math.floor(row / length), i);
    const element = row % length;
    const vector = main[(group * centroids + (indices[at] as number)) * length + element] as number;
    if (!rest) return vector;
    return Math.fround(vector + (rest[(group * residual + (restIndices[at] as number)) * length + element] as number));
  };
  let outlier = (_row: number, _column: number): number => 0;
  if (outliers) {
    const values = book('outlier_centroids', 1, outliers.centroids, outliers.length);
    const lines = Math.ceil(rows / outliers.length);
    const codes = Array.from({ length: lines * outliers.columns }, (_, i) => index(outliers.centroids, i));
    tensors.set('m.q.outlier_indices', words16(codes, [1, lines, outliers.columns]));
    outlier = (row, column) => {
      const code = codes[Math.floor(row / outliers.length) * outliers.columns + column] as number;
      return values[code * outliers.length + (row % outliers.length)] as number;
    };
  }
  // A permutation that is not its own inverse.
  const perm = Array.from({ length: columns }, (_, i) =>
    i * 2 + 1 < columns ? i * 2 + 1 : (i - Math.floor(columns / 2)) * 2,
  );
  if (sizes.order) tensors.set('m.q.perm', words16(perm, [columns]));
  const scale = Array.from({ length: columns }, () => (1 + next(100)) / 64);
  const bias = Array.from({ length: columns }, value);
  if (sizes.norm) {
    tensors.set('m.q.weight_scale', encode(scale, 'f16'));
    tensors.set('m.q.weight_bias', encode(bias, 'f16'));
  }
  const weight = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const from = outliers?.columns ?? 0;
      const value = column < from ? outlier(row, column) : stored(row, column, from);
      const to = sizes.order ? (perm[column] as number) : column;
      const scaled = sizes.norm
        ? Math.fround(Math.fround(value * (scale[to] as number)) + (bias[to] as number))
        : value;
      weight[row * columns + to] = scaled;
    }
  }
  const settings: Record<string, unknown> = {
    in_features: columns,
    out_features: rows,
    vector_lens: [outliers?.length ?? -1, length],
    num_centroids: [outliers?.centroids ?? -1, centroids],
    num_res_centroids: [-1, residual],
    group_num: groups,
    group_size: groupColumns,
    outlier_size: outliers?.columns ?? 0,
    enable_norm: sizes.norm === true,
    enable_perm: sizes.order === true,
    is_indice_packed: true,
    vector_quant_dim: 'out',
  };
  return { tensors, weight, settings };
}

const configOf = (settings: unknown) => ({
  quantization_config: { quant_method: 'vptq', config_for_layers: { 'm.q': settings } },
});

const plain: Layer = { rows: 6, groups: 1, groupColumns: 7, length: 3, centroids: 8, packed: true };
const rich: Layer = {
  ...plain,
  rows: 7,
  groups: 2,
  groupColumns: 5,
  residual: 4,
  outliers: { columns: 3, length: 2, centroids: 4 },
  order: true,
  norm: true,
};

describe('vptq layout', () => {
  it.each([
    ['plain', plain],
    ['not packed', { ...plain, packed: false }],
    ['one row a vector', { ...plain, length: 1 }],
    ['padded rows', { ...plain, rows: 8 }],
    ['residual', { ...plain, residual: 16, centroids: 4 }],
    ['residual, not packed', { ...plain, residual: 16, packed: false }],
    ['scale and bias', { ...plain, norm: true }],
    ['permuted columns', { ...plain, order: true }],
    ['everything', rich],
    ['everything, not packed', { ...rich, packed: false }],
    ['outliers without residual', { ...rich, residual: -1 }],
    ['three stages', { ...plain, centroids: 65_536, length: 2 }],
    ['two words of bits', { ...rich, centroids: 65_536, residual: 65_536, length: 2, groups: 1 }],
  ])('reads a layer: %s', async (_name, sizes) => {
    const { tensors, weight, settings } = layer(sizes);
    const checkpoint = await openLayout(vptq, await packedFile(tensors), configOf(settings));
    expect(checkpoint.tensors.size).toBe(0);
    const q = (await checkpoint.quantized?.get('m.q.weight')?.read()) as QuantizedTensor;
    expect(q.shape).toEqual([settings.out_features, settings.in_features]);
    expect(dequantize(q)).toEqual(weight);
  });

  it('finds settings of the layer, then shared ones', async () => {
    const { tensors, weight, settings } = layer(plain);
    const file = await packedFile(tensors);
    const read = (config: object) =>
      readWeight(vptq, file, { quantization_config: { quant_method: 'vptq', ...config } });
    expect(dequantize(await read({ shared_layer_config: { q: settings } }))).toEqual(weight);
    const wrong = { ...settings, out_features: 1 };
    const both = { shared_layer_config: { q: wrong }, config_for_layers: { 'm.q': settings } };
    expect(dequantize(await read(both))).toEqual(weight);
    await expectFailure(() => read({}), 'FORMAT', 'config_for_layers');
    await expectFailure(() => read({ shared_layer_config: { __proto__: null } }), 'FORMAT', 'config_for_layers');
  });

  it.each([
    ['in_features', 8, 'FORMAT', 'columns'],
    ['in_features', '7', 'FORMAT', 'in_features'],
    ['out_features', 100, 'FORMAT', 'indices'],
    ['out_features', 0, 'FORMAT', 'out_features'],
    ['vector_lens', [-1, 0], 'FORMAT', 'centroids'],
    ['vector_lens', [-1, 1000], 'FORMAT', 'centroids'],
    ['vector_lens', 3, 'FORMAT', 'vector_lens'],
    ['num_centroids', [-1, 2 ** 20], 'FORMAT', 'centroids'],
    ['num_centroids', [-1, 1], 'FORMAT', 'centroids'],
    ['num_res_centroids', [-1, 4], 'FORMAT', 'indices'],
    ['num_res_centroids', null, 'FORMAT', 'num_res_centroids'],
    ['group_num', 2, 'FORMAT', 'groups'],
    ['vector_quant_dim', 'in', 'UNSUPPORTED', 'vector_quant_dim'],
  ])('refuses a layer whose %s is %j', async (key, value, code, word) => {
    const { tensors, settings } = layer(plain);
    const config = configOf({ ...settings, [key]: value });
    await expectFailure(async () => readWeight(vptq, await packedFile(tensors), config), code, word);
  });

  it('refuses indices and columns that do not exist', async () => {
    const { tensors, settings } = layer({ ...plain, packed: false, order: true });
    const read = async (name: string, tensor: PackedTensor) =>
      readWeight(vptq, await packedFile(new Map(tensors).set(name, tensor)), configOf(settings));
    await expectFailure(
      () => read('m.q.indices', encode(new Array(14).fill(8), 'i16', [1, 2, 7])),
      'RANGE',
      '8 is not one',
    );
    await expectFailure(() => read('m.q.indices', encode(new Array(14).fill(-1), 'i16', [1, 2, 7])), 'RANGE', '65535');
    await expectFailure(() => read('m.q.perm', encode([0, 1, 2, 3, 4, 5, 5], 'i16')), 'RANGE', 'twice');
    await expectFailure(() => read('m.q.perm', encode([0, 1, 2, 3, 4, 5, -6], 'i64')), 'RANGE', 'permutation');
    await expectFailure(() => read('m.q.perm', encode([0, 1], 'i16')), 'FORMAT', 'perm');
    await expectFailure(() => read('m.q.centroids.weight', encode([0, 1], 'f16', [1, 2])), 'FORMAT', 'centroids');
  });

  it('refuses centroids that take too many stages', async () => {
    const { tensors, settings } = layer({ ...plain, rows: 32, centroids: 65_536, length: 32, groupColumns: 2 });
    await expectFailure(
      async () => readWeight(vptq, await packedFile(tensors), configOf(settings)),
      'UNSUPPORTED',
      'stages',
    );
  });
});
