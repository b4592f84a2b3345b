/** What VPTQ's configuration says of one layer. */
import { HalftoneError, type JsonObject } from '@halftone/tensor';
import { isObject, own, quantizationConfig, wholeSetting } from './settings.js';

const WHERE = 'vptq';
/** Published models have up to 16. */
const MAX_VECTOR = 64;
const MAX_CENTROIDS = 65_536;

/** Vectors of consecutive rows, and the table that they come from. */
export interface VectorTable {
  readonly length: number;
  readonly centroids: number;
}

export interface VptqSettings {
  readonly rows: number;
  readonly columns: number;
  /** Codebooks, each for `groupColumns` consecutive stored columns. */
  readonly groups: number;
  readonly groupColumns: number;
  readonly main: VectorTable;
  /** Added to the main vectors; of their length. */
  readonly residual?: VectorTable;
  /** The first stored columns, which have a table of their own. */
  readonly outliers?: VectorTable & { readonly columns: number };
}

/**
 * The layer's own settings, else those shared by layers of its last name. Throws `FORMAT` for missing or contradicting members,
 * `UNSUPPORTED` for vectors along the input and residuals of outliers.
 */
export function vptqSettings(config: JsonObject | undefined, layer: string): VptqSettings {
  const settings = layerSettings(config, layer);
  if (settings === undefined) {
    throw new HalftoneError('FORMAT', `${layer}: config.json has no config_for_layers or shared_layer_config for it`, {
      where: WHERE,
      details: { layer },
    });
  }
  const direction = own(settings, 'vector_quant_dim') ?? 'out';
  if (direction !== 'out')
    fail('UNSUPPORTED', layer, `vector_quant_dim ${JSON.stringify(direction)} is not read; out is`);
  const whole = (key: string, highest: number) => wholeSetting(settings, [key], 1, highest, `${WHERE}: ${layer}`);
  const [outlierLength, length] = pair(settings, 'vector_lens', layer);
  const [outlierCentroids, centroids] = pair(settings, 'num_centroids', layer);
  const [outlierResidual, residual] = pair(settings, 'num_res_centroids', layer);
  const columns = whole('in_features', 2 ** 31);
  const groups = whole('group_num', columns);
  const groupColumns = whole('group_size', columns);
  const hasOutliers = outlierLength > 1 && outlierCentroids > 0;
  const outlierColumns = hasOutliers ? whole('outlier_size', columns) : 0;
  if (hasOutliers && outlierResidual > 0)
    fail('UNSUPPORTED', layer, 'residual vectors of outlier columns are not read');
  if (groups * groupColumns + outlierColumns !== columns) {
    fail(
      'FORMAT',
      layer,
      `${groups} groups of ${groupColumns} and ${outlierColumns} outlier columns are not ${columns} columns`,
    );
  }
  return {
    rows: whole('out_features', 2 ** 31),
    columns,
    groups,
    groupColumns,
    main: table(length, centroids, layer),
    ...(residual > 0 ? { residual: table(length, residual, layer) } : {}),
    ...(hasOutliers ? { outliers: { ...table(outlierLength, outlierCentroids, layer), columns: outlierColumns } } : {}),
  };
}

function layerSettings(config: JsonObject | undefined, layer: string): JsonObject | undefined {
  const settings = quantizationConfig(config);
  const layers = own(settings, 'config_for_layers') ?? own(settings, 'quant_config');
  const shared = own(settings, 'shared_layer_config');
  const found = isObject(layers) ? own(layers, layer) : undefined;
  const fallback = isObject(shared) ? own(shared, layer.slice(layer.lastIndexOf('.') + 1)) : undefined;
  return [found, fallback].find(isObject);
}

function pair(settings: JsonObject, key: string, layer: string): readonly [number, number] {
  const value = own(settings, key);
  if (Array.isArray(value) && value.length === 2 && value.every(Number.isSafeInteger)) return value as [number, number];
  return fail('FORMAT', layer, `${key} is not a pair of whole numbers`);
}

function table(length: number, centroids: number, layer: string): VectorTable {
  const valid = length >= 1 && length <= MAX_VECTOR && centroids >= 2 && centroids <= MAX_CENTROIDS;
  if (!valid)
    fail(
      'FORMAT',
      layer,
      `${centroids} centroids of length ${length} are not 2 .. ${MAX_CENTROIDS} of 1 .. ${MAX_VECTOR}`,
    );
  return { length, centroids };
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', layer: string, message: string): never {
  throw new HalftoneError(code, `${layer}: ${message}`, { where: WHERE, details: { layer } });
}
