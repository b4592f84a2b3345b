import type { Grid, JsonObject } from '@halftone/tensor';
import { refuse } from './refuse.js';
import { isObject, own } from './settings.js';

const WHERE = 'mlx';

export const MLX_BITS: readonly number[] = [2, 3, 4, 5, 6, 8];
export const MLX_GROUP_SIZES: readonly number[] = [32, 64, 128];

const E2M1 = { type: 'float', exponent: 2, mantissa: 1, bias: 1 } as const;
const E4M3 = { type: 'float', exponent: 4, mantissa: 3, bias: 7 } as const;

interface FloatMode {
  readonly bits: number;
  readonly groupSize: number;
  readonly grid: Extract<Grid, { type: 'float' }>;
  readonly codeType: 'f4_e2m1' | 'f8_e4m3';
  readonly scaleType: 'f8_e8m0' | 'f8_e4m3';
}

/** The modes other than affine: small floats with one encoded scale for each group. */
export const MLX_MODES = {
  mxfp4: { bits: 4, groupSize: 32, grid: E2M1, codeType: 'f4_e2m1', scaleType: 'f8_e8m0' },
  mxfp8: { bits: 8, groupSize: 32, grid: E4M3, codeType: 'f8_e4m3', scaleType: 'f8_e8m0' },
  nvfp4: { bits: 4, groupSize: 16, grid: E2M1, codeType: 'f4_e2m1', scaleType: 'f8_e4m3' },
} as const satisfies Record<string, FloatMode>;

export type MlxMode = keyof typeof MLX_MODES;

export interface MlxSettings {
  readonly groupSize: number;
  readonly bits: number;
  readonly mode: MlxMode | 'affine';
}

export function isMlxMode(mode: string): mode is MlxMode {
  return Object.hasOwn(MLX_MODES, mode);
}

/** The object in `config.json` that holds MLX's settings, or undefined. Other tools have `quant_method` there. */
export function mlxSettings(config: JsonObject | undefined): JsonObject | undefined {
  for (const key of ['quantization', 'quantization_config']) {
    const settings = own(config, key);
    if (isObject(settings) && 'bits' in settings && 'group_size' in settings && !('quant_method' in settings)) {
      return settings;
    }
  }
  return undefined;
}

/**
 * The settings of one layer: its own entry, else those of all. What an entry leaves out is the default of its mode, never the
 * setting of all. Throws `FORMAT` for values of other types, `UNSUPPORTED` for what MLX cannot do.
 */
export function settingsOf(config: JsonObject | undefined, module: string): MlxSettings {
  const all = mlxSettings(config) ?? {};
  const entry = Object.hasOwn(all, module) ? all[module] : true;
  const chosen = entry === true ? all : entry;
  if (!isObject(chosen)) {
    return refuse(
      'FORMAT',
      WHERE,
      module,
      `has scales, but its quantization is ${JSON.stringify(entry)} in config.json`,
    );
  }
  const { mode = 'affine', bits, group_size: groupSize } = chosen;
  if (typeof mode !== 'string' || (mode !== 'affine' && !isMlxMode(mode))) {
    return refuse('UNSUPPORTED', WHERE, module, `mode ${JSON.stringify(mode)} is not known`);
  }
  const usual = mode === 'affine' ? { bits: 4, groupSize: 64 } : MLX_MODES[mode];
  const settings = { bits: bits ?? usual.bits, groupSize: groupSize ?? usual.groupSize, mode };
  const fits =
    mode === 'affine'
      ? MLX_BITS.includes(settings.bits as number) && MLX_GROUP_SIZES.includes(settings.groupSize as number)
      : settings.bits === usual.bits && settings.groupSize === usual.groupSize;
  if (!fits) {
    return refuse(
      'UNSUPPORTED',
      WHERE,
      module,
      `${JSON.stringify(bits)} bits in groups of ${JSON.stringify(groupSize)} are not of mode ${mode}`,
    );
  }
  return settings as MlxSettings;
}
