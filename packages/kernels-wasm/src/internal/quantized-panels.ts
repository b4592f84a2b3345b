import {
  dequantize,
  HalftoneError,
  type QuantizedTensor,
  type Scheme,
  type Tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import type { QuantizedForm } from './held-weight.js';
import { BLOCK, type Layout, type Storage, TABLE } from './layout.js';
import { type PanelSource, packPanels, panelsByteLength } from './pack-panels.js';
import { codeEntries } from './tables.js';

/** Columns from one scale to the next at least; two groups share a block of 32. */
const HALF_BLOCK = 16;

/** Whether weights of this scheme are taken: codes of up to 8 bits that are numbers, with groups of whole half-blocks. */
export function isPanelScheme({ grid, granularity }: Scheme): boolean {
  const bits = grid.type === 'float' ? 1 + grid.exponent + grid.mantissa : grid.bits;
  if (!Number.isInteger(bits) || bits < 1 || bits > 8) return false;
  if (grid.type === 'lookup' && (grid.vectorLength !== 1 || grid.stages !== 1 || grid.signs === true)) return false;
  if (granularity.type === 'group') return granularity.axis === 1 && granularity.size % HALF_BLOCK === 0;
  return granularity.type === 'tensor' || (granularity.type === 'axis' && granularity.axis === 0);
}

/** A quantized weight brought to one form: `scale * (stored code - center) + offset`, or `scale * entry of the table`. */
export interface PanelWeight extends QuantizedForm {
  readonly byteLength: number;
  readonly pack: (bytes: Uint8Array, floats: Float32Array, address: number) => void;
}

/**
 * Undefined for weights that are better held in float32: those with parts that panels lack, and with `float` activations those
 * with tables of more than 16 entries. Throws `SHAPE` for parts of a wrong size and `RANGE` for codes beyond a codebook.
 */
export function panelWeight(q: QuantizedTensor, activations: 'int8' | 'float'): PanelWeight | undefined {
  const { outliers, lowRank, permutation, groupIndex, channelScale, zeros, offsets } = q.parts;
  if (!isPanelScheme(q.scheme) || outliers || lowRank || permutation || groupIndex || channelScale) return undefined;
  const { grid } = q.scheme;
  if (grid.type === 'affine') return affineWeight(q, grid.bits, grid.signed);
  if (zeros || offsets) return undefined;
  const table = gridValues(q);
  if (table.length <= TABLE && table.every(Number.isFinite)) return tableWeight(q, table, activations);
  return activations === 'int8' ? roundedWeight(q) : undefined;
}

function panelWeightOf(layout: Layout, center: number, entries: Float32Array, source: PanelSource): PanelWeight {
  return {
    layout,
    center,
    entries,
    byteLength: panelsByteLength(source.shape, layout),
    pack: (bytes, floats, address) => packPanels(source, layout, bytes, floats, address),
  };
}

function affineWeight(q: QuantizedTensor, bits: number, signed: boolean): PanelWeight {
  const { zero, ...parameters } = affineParameters(q);
  const storage: Storage = bits <= 2 ? 'crumb' : bits <= 4 ? 'nibble' : bits <= 6 ? 'sixBit' : 'byte';
  const layout: Layout = { storage, groups: groups(q), offsets: parameters.offsets !== undefined };
  const storedBits = { crumb: 2, nibble: 4, sixBit: 6, byte: 8 }[storage];
  // Bytes are stored signed, smaller codes unsigned.
  const flips = storedBits === 8 ? !signed && bits === 8 : signed;
  const flip = flips ? 2 ** (storedBits - 1) : 0;
  const center = (storedBits === 8 ? -flip : flip) + zero;
  const source = { ...parameters, ...steps(q), codes: byteCodes(q), flip, mask: 2 ** storedBits - 1 };
  return panelWeightOf(layout, center, codeEntries(center), source);
}

/** Codes that index a table. For `int8` activations the table becomes integers, and its unit goes into the scales. */
function tableWeight(q: QuantizedTensor, table: Float32Array, activations: 'int8' | 'float'): PanelWeight {
  const unit = activations === 'int8' ? integerUnit(table) : 1;
  const entries = new Float32Array(TABLE);
  for (const [code, value] of table.entries()) {
    entries[code] = activations === 'int8' ? Math.round(value / unit) : value;
  }
  const scales = readParameters(q, 'scales');
  const layout: Layout = {
    storage: table.length <= 4 ? 'crumbTable' : 'nibbleTable',
    groups: groups(q),
    offsets: false,
  };
  const codes = byteCodes(q, table.length);
  const mask = table.length <= 4 ? 3 : 15;
  const source = { ...steps(q), scales: scales.map((scale) => scale * unit), codes, flip: 0, mask };
  return panelWeightOf(layout, 0, entries, source);
}

/**
 * The largest number of which all entries are multiples by integers of at most 127, to float32 accuracy; where there is none,
 * 1/127 of the largest entry, which then rounds the others.
 */
function integerUnit(table: Float32Array): number {
  const largest = table.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return 1;
  for (let n = 1; n <= 127; n++) {
    const unit = largest / n;
    if (table.every((value) => Math.fround(Math.round(value / unit) * unit) === value)) return unit;
  }
  return largest / 127;
}

/** Values of a wide table, rounded again: to 8 bits, with a scale for each 32 columns of a row. */
function roundedWeight(q: QuantizedTensor): PanelWeight {
  const [outFeatures, inFeatures] = q.shape;
  const values = dequantize(q);
  const codes = new Uint8Array(values.length);
  const blocks = Math.ceil(inFeatures / BLOCK);
  const scales = new Float32Array(outFeatures * blocks);
  for (let row = 0, at = 0; row < outFeatures; row++) {
    for (let first = 0; first < inFeatures; first += BLOCK, at++) {
      const start = row * inFeatures + first;
      const run = values.subarray(start, start + Math.min(BLOCK, inFeatures - first));
      const largest = run.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      // NaN and infinities make the scale NaN or infinite, and so the products.
      scales[at] = largest / 127;
      if (scales[at] === 0) continue;
      for (let i = 0; i < run.length; i++) codes[start + i] = Math.round(run[i] / scales[at]);
    }
  }
  const shape = [outFeatures, inFeatures] as const;
  const source = { shape, codes, flip: 0, mask: 255, scales, rowStep: blocks, groupSize: BLOCK };
  return panelWeightOf({ storage: 'byte', groups: 1, offsets: false }, 0, new Float32Array(TABLE), source);
}

/** The number that each code of a float or lookup grid stands for. */
function gridValues(q: QuantizedTensor): Float32Array {
  const { scheme, parts } = q;
  const { grid } = scheme;
  if (grid.type === 'lookup') return toFloat32(parts.codebook as Tensor<Float32Array>);
  const count = grid.type === 'float' ? 2 ** (1 + grid.exponent + grid.mantissa) : 0;
  const shape = [1, count];
  const codes = { data: Uint8Array.from({ length: count }, (_, code) => code), shape, stride: [count, 1], offset: 0 };
  return dequantize({ ...q, shape, scheme: { ...scheme, granularity: { type: 'tensor' } }, parts: { codes } });
}

/** Codes in bytes, of which the lowest bits count. */
function byteCodes({ shape, scheme, parts }: QuantizedTensor, entries?: number): Uint8Array {
  const codes = unpackCodes(parts.codes);
  expectCount('codes', codes.length, shape[0] * shape[1]);
  if (scheme.grid.type === 'lookup' && entries !== undefined) {
    const wrong = codes.findIndex((code) => code < 0 || code >= entries);
    if (wrong >= 0) {
      throw new HalftoneError(
        'RANGE',
        `code ${codes[wrong]} at ${wrong} is not an entry of the codebook of ${entries}`,
        {
          where: 'wasmBackend',
          details: { code: codes[wrong], at: wrong, entries },
        },
      );
    }
  }
  if (codes.BYTES_PER_ELEMENT > 1) return Uint8Array.from(codes);
  return new Uint8Array(codes.buffer, codes.byteOffset, codes.length);
}

function groups({ shape, scheme: { granularity } }: QuantizedTensor): 1 | 2 {
  return granularity.type === 'group' && granularity.size % BLOCK !== 0 && granularity.size < shape[1] ? 2 : 1;
}

interface AffineParameters {
  readonly scales: Float32Array;
  /** In units of values, with zeros folded in that differ. */
  readonly offsets?: Float32Array;
  /** The one zero of all groups. */
  readonly zero: number;
}

function affineParameters(q: QuantizedTensor): AffineParameters {
  const { parts } = q;
  const scales = readParameters(q, 'scales');
  const zeros = parts.zeros && readParameters(q, 'zeros');
  const offsets = parts.offsets && readParameters(q, 'offsets');
  if (zeros === undefined) return { scales, offsets, zero: 0 };
  const zero = zeros[0];
  if (offsets === undefined && Number.isInteger(zero) && Math.abs(zero) < 256 && zeros.every((z) => z === zero)) {
    return { scales, zero };
  }
  return { scales, offsets: scales.map((scale, i) => (offsets?.[i] ?? 0) - scale * zeros[i]), zero: 0 };
}

/** Absent scales are 1; the global scale is multiplied in. */
function readParameters({ parts, shape, scheme }: QuantizedTensor, name: 'scales' | 'zeros' | 'offsets'): Float32Array {
  const { granularity } = scheme;
  const columns = granularity.type === 'group' ? Math.ceil(shape[1] / granularity.size) : 1;
  const count = granularity.type === 'tensor' ? 1 : shape[0] * columns;
  const part = parts[name];
  const values = part === undefined ? new Float32Array(count).fill(1) : toFloat32(part as Tensor);
  expectCount(name, values.length, count);
  const factor = parts.globalScale ?? 1;
  return name === 'scales' ? values.map((value) => value * factor) : values;
}

function expectCount(what: string, actual: number, expected: number): void {
  if (actual === expected) return;
  throw new HalftoneError('SHAPE', `${actual} ${what} are given but ${expected} needed`, {
    where: 'wasmBackend',
    details: { actual, expected },
  });
}

function steps({
  shape,
  scheme: { granularity },
}: QuantizedTensor): Pick<PanelSource, 'shape' | 'rowStep' | 'groupSize'> {
  const [outFeatures, inFeatures] = shape;
  const size = granularity.type === 'group' ? granularity.size : inFeatures;
  const rowStep = granularity.type === 'tensor' ? 0 : Math.ceil(inFeatures / size);
  return { shape: [outFeatures, inFeatures], rowStep, groupSize: size };
}
