/** `quantization_config` of compressed-tensors: groups of settings and the modules they are for. */
import { HalftoneError, type JsonObject } from '@halftone/tensor';
import { namePattern, PATTERN_BUDGET, type PatternBudget } from './name-pattern.js';
import { isObject, own, quantizationConfig } from './settings.js';

const WHERE = 'compressed-tensors';

export interface CompressedWeights {
  readonly bits: number;
  readonly type: 'int' | 'float';
  readonly symmetric: boolean;
  readonly strategy: 'tensor' | 'channel' | 'group' | 'block';
  /** For `group`. */
  readonly groupSize: number;
  /** `[rows, columns]`, for `block`. */
  readonly block: readonly [number, number];
}

/** The settings of a module's weight. Throws `FORMAT` where no group is for it. */
export type SettingsOf = (module: string) => CompressedWeights;

/** Formats whose weights are read, by what tensors hold; the others need more than the weight's own tensors. */
const READ_FORMATS: readonly string[] = [
  'dense',
  'pack-quantized',
  'int-quantized',
  'float-quantized',
  'naive-quantized',
  'nvfp4-pack-quantized',
  'mxfp4-pack-quantized',
  'mxfp8-quantized',
  'mixed-precision',
];

const REASONS: Readonly<Record<string, string>> = {
  'marlin-24': 'its weights are 2:4 sparse and permuted for one GPU kernel',
  'sparse-bitmask': 'its weights are sparse: values without zeros, and a bit mask',
  'sparse-24-bitmask': 'its weights are sparse: values without zeros, and a bit mask',
};

/** Every module is looked for in every group. */
const MAX_GROUPS = 1000;

/**
 * `modules` are those that have quantized weights. Throws `FORMAT` for settings that are missing or make no sense,
 * `UNSUPPORTED` for formats, transforms and patterns that are not read.
 */
export function readConfig(config: JsonObject | undefined, modules: ReadonlySet<string>): SettingsOf {
  const settings = quantizationConfig(config);
  checkFormat(own(settings, 'format'));
  const sparsity = own(settings, 'sparsity_config');
  if (isObject(sparsity)) checkFormat(own(sparsity, 'format'));
  const transforms = own(own(settings, 'transform_config') as JsonObject | undefined, 'config_groups');
  if (isObject(transforms) && Object.keys(transforms).length > 0) {
    fail('UNSUPPORTED', 'transform_config: inputs are transformed at run time, which is not read');
  }
  const groups = own(settings, 'config_groups');
  if (!isObject(groups)) fail('FORMAT', 'quantization_config: config_groups is missing or not an object');
  const count = Object.keys(groups as JsonObject).length;
  if (count > MAX_GROUPS) fail('UNSUPPORTED', `config_groups has ${count} groups; at most ${MAX_GROUPS} are read`);
  const budget: PatternBudget = { left: PATTERN_BUDGET };
  const parsed: ConfigGroup[] = [];
  for (const [name, value] of Object.entries(groups as JsonObject)) {
    const group = readGroup(name, value, modules, budget);
    if (group !== undefined) parsed.push(group);
  }
  return (module) => settingsOf(parsed, module);
}

interface ConfigGroup {
  readonly weights: CompressedWeights;
  /** Of modules. */
  readonly names: ReadonlySet<string>;
  /** Whether a target is no module's name, and whether it is `Linear`. */
  readonly forClass: boolean;
  readonly forLinear: boolean;
  readonly patterns: readonly ((module: string) => boolean)[];
}

/**
 * A name before a pattern before a class. Of which class a module is the file does not say, so `Linear`, or else any class, is
 * taken for that of all; and where there is one group it is for every weight.
 */
function settingsOf(groups: readonly ConfigGroup[], module: string): CompressedWeights {
  const group =
    groups.length === 1
      ? groups[0]
      : (groups.find(({ names }) => names.has(module)) ??
        groups.find(({ patterns }) => patterns.some((matches) => matches(module))) ??
        groups.find(({ forLinear }) => forLinear) ??
        groups.find(({ forClass }) => forClass));
  if (group === undefined) return fail('FORMAT', `${module}: no group of config_groups is for it`, { module });
  return group.weights;
}

/** Undefined for a group that is for activations alone. */
function readGroup(
  name: string,
  group: unknown,
  modules: ReadonlySet<string>,
  budget: PatternBudget,
): ConfigGroup | undefined {
  if (!isObject(group))
    return fail('UNSUPPORTED', `config_groups.${name} is not an object; named presets are not read`);
  checkFormat(own(group, 'format'));
  const weights = own(group, 'weights');
  if (weights === undefined) return undefined;
  if (!isObject(weights)) return fail('FORMAT', `config_groups.${name}.weights is not an object`);
  const targets = own(group, 'targets') ?? [];
  if (!Array.isArray(targets) || !targets.every((target): target is string => typeof target === 'string')) {
    return fail('FORMAT', `config_groups.${name}.targets is not a list of strings`);
  }
  const isPattern = (target: string): boolean => target.startsWith('re:');
  const names = targets.filter((target) => !isPattern(target));
  return {
    weights: readWeights(weights, `config_groups.${name}.weights`),
    names: new Set(names.filter((target) => modules.has(target))),
    forClass: names.some((target) => !modules.has(target)),
    forLinear: names.includes('Linear'),
    patterns: targets.filter(isPattern).map((target) => lazyPattern(target.slice('re:'.length), budget)),
  };
}

/** One group needs no patterns, so one that cannot be read does no harm until it is asked. */
function lazyPattern(pattern: string, budget: PatternBudget): (module: string) => boolean {
  let matches: ((module: string) => boolean) | undefined;
  return (module) => {
    matches ??= namePattern(pattern, budget, WHERE);
    return matches(module);
  };
}

function readWeights(weights: JsonObject, path: string): CompressedWeights {
  const bits = own(weights, 'num_bits') ?? 8;
  const type = own(weights, 'type') ?? 'int';
  const symmetric = own(weights, 'symmetric') ?? true;
  const groupSize = own(weights, 'group_size');
  const strategy = own(weights, 'strategy') ?? inferredStrategy(groupSize);
  const bad = (key: string, value: unknown): never =>
    fail('FORMAT', `${path}.${key} is ${JSON.stringify(value)}, which makes no sense`, { key, value });
  if (!Number.isInteger(bits) || (bits as number) < 1) bad('num_bits', bits);
  if ((bits as number) > 8) fail('UNSUPPORTED', `${path}.num_bits is ${bits}; 1 to 8 are read`, { bits });
  if (type !== 'int' && type !== 'float') bad('type', type);
  if (typeof symmetric !== 'boolean') bad('symmetric', symmetric);
  const kind = strategy === 'tensor_group' ? 'group' : strategy;
  if (kind !== 'tensor' && kind !== 'channel' && kind !== 'group' && kind !== 'block') {
    return fail('UNSUPPORTED', `${path}.strategy ${JSON.stringify(strategy)} is not read for weights`, { strategy });
  }
  if (kind === 'group' && !isSize(groupSize)) bad('group_size', groupSize);
  const block = blockStructure(own(weights, 'block_structure'));
  if (kind === 'block' && block === undefined) bad('block_structure', own(weights, 'block_structure'));
  return {
    bits: bits as number,
    type: type as 'int' | 'float',
    symmetric: symmetric as boolean,
    strategy: kind,
    groupSize: kind === 'group' ? (groupSize as number) : 0,
    block: block ?? [1, 1],
  };
}

function inferredStrategy(groupSize: unknown): string {
  return groupSize === undefined ? 'tensor' : groupSize === -1 ? 'channel' : 'group';
}

/** `[128, 128]`, or `128x128` in older files. */
function blockStructure(value: unknown): readonly [number, number] | undefined {
  const sides = typeof value === 'string' ? value.split('x').map(Number) : value;
  if (!Array.isArray(sides) || sides.length !== 2 || !sides.every(isSize)) return undefined;
  return [sides[0] as number, sides[1] as number];
}

function isSize(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) < 2 ** 32;
}

function checkFormat(format: unknown): void {
  if (format === undefined || READ_FORMATS.includes(format as string)) return;
  const reason = typeof format === 'string' && Object.hasOwn(REASONS, format) ? REASONS[format] : undefined;
  fail('UNSUPPORTED', `format ${JSON.stringify(format)} is not read${reason === undefined ? '' : `: ${reason}`}`, {
    format,
  });
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string, details?: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where: WHERE, ...(details === undefined ? {} : { details }) });
}
