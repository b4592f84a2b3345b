import {
  HalftoneError,
  type QuantizedTensor,
  type Scheme,
  type Tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import { BLOCK, blockBytes, headerBytes, type Layout, PANEL, type Storage } from './layout.js';

/** Columns from one scale to the next at least; two groups share a block of 32. */
const HALF_BLOCK = 16;

/** Whether weights of this scheme can be held as they are: integers of up to 8 bits, with groups of whole half-blocks. */
export function isAffinePanelScheme({ grid, granularity }: Scheme): boolean {
  if (grid.type !== 'affine' || !Number.isInteger(grid.bits) || grid.bits < 1 || grid.bits > 8) return false;
  if (granularity.type === 'group') return granularity.axis === 1 && granularity.size % HALF_BLOCK === 0;
  return granularity.type === 'tensor' || (granularity.type === 'axis' && granularity.axis === 0);
}

/** A quantized weight brought to one form: `scale * (stored code - center) + offset`. */
export interface AffineWeight {
  readonly layout: Layout;
  readonly center: number;
  readonly byteLength: number;
  readonly pack: (bytes: Uint8Array, floats: Float32Array, address: number) => void;
}

/** Undefined for schemes that `isAffinePanelScheme` denies. Throws `SHAPE` for parts of a wrong size. */
export function affineWeight(q: QuantizedTensor): AffineWeight | undefined {
  const [outFeatures, inFeatures] = q.shape;
  const { grid, granularity } = q.scheme;
  if (grid.type !== 'affine' || !isAffinePanelScheme(q.scheme)) return undefined;
  const { bits, signed } = grid;
  const parameters = affineParameters(q);
  const codes = unpackCodes(q.parts.codes);
  expectCount('codes', codes.length, outFeatures * inFeatures);
  const layout: Layout = {
    storage: bits <= 4 ? 'nibble' : bits <= 6 ? 'sixBit' : 'byte',
    groups: granularity.type === 'group' && granularity.size % BLOCK !== 0 && granularity.size < inFeatures ? 2 : 1,
    offsets: parameters.offsets !== undefined,
  };
  const [shift, mask] = storedCodes(layout.storage, bits, signed);
  const center = shift + parameters.zero;
  const blocks = Math.ceil(inFeatures / BLOCK);
  const panels = Math.ceil(outFeatures / PANEL);
  return {
    layout,
    center,
    byteLength: panels * blocks * blockBytes(layout),
    pack(bytes, floats, address) {
      const [rowStep, size] = parameterSteps(q);
      const panelBytes = blocks * blockBytes(layout);
      const words = new Uint32Array(bytes.buffer);
      const line = new Uint8Array(blocks * BLOCK);
      const lineWords = new Uint32Array(line.buffer);
      const flip = Math.abs(shift) * 0x01010101;
      // Rows that no feature has get scales of zero.
      if (outFeatures % PANEL !== 0) {
        bytes.fill(0, address + (panels - 1) * panelBytes, address + panels * panelBytes);
      }
      for (let row = 0; row < outFeatures; row++) {
        const to = (address + Math.floor(row / PANEL) * panelBytes) / 4;
        const at = { row: row % PANEL, layout, blocks, columns: inFeatures };
        packParameters(parameters, row * rowStep, size, floats, to, at);
        line.set(codes.subarray(row * inFeatures, (row + 1) * inFeatures));
        if (layout.storage === 'nibble') packNibbles(lineWords, flip, words, to, at);
        else packBytes(lineWords, flip, mask, words, to, at);
      }
    },
  };
}

/** What is added to codes, always a power of two or nothing, and the bits that then remain of each of four bytes. */
function storedCodes(storage: Storage, bits: number, signed: boolean): readonly [number, number] {
  if (storage === 'nibble') return [signed ? 8 : 0, 0x0f0f0f0f];
  if (storage === 'sixBit') return [signed ? 32 : 0, 0x3f3f3f3f];
  return [!signed && bits === 8 ? -128 : 0, 0xffffffff];
}

interface Position {
  /** Within the panel. */
  readonly row: number;
  readonly layout: Layout;
  readonly blocks: number;
  readonly columns: number;
}

interface AffineParameters {
  readonly scales: Float32Array;
  /** In units of values, with zeros folded in that differ. */
  readonly offsets?: Float32Array;
  /** The one zero of all groups. */
  readonly zero: number;
}

function affineParameters({ parts, shape, scheme: { granularity } }: QuantizedTensor): AffineParameters {
  const count =
    granularity.type === 'tensor'
      ? 1
      : shape[0] * (granularity.type === 'group' ? Math.ceil(shape[1] / granularity.size) : 1);
  const read = (name: 'scales' | 'zeros' | 'offsets') => {
    const part = parts[name];
    if (part === undefined) return undefined;
    const values = toFloat32(part as Tensor);
    expectCount(name, values.length, count);
    return values;
  };
  const factor = parts.globalScale ?? 1;
  const scales = (read('scales') ?? new Float32Array(count).fill(1)).map((scale) => scale * factor);
  const zeros = read('zeros');
  const offsets = read('offsets');
  if (zeros === undefined) return { scales, offsets, zero: 0 };
  const zero = zeros[0];
  if (offsets === undefined && Number.isInteger(zero) && Math.abs(zero) < 256 && zeros.every((z) => z === zero)) {
    return { scales, zero };
  }
  return { scales, offsets: scales.map((scale, i) => (offsets?.[i] ?? 0) - scale * zeros[i]), zero: 0 };
}

function expectCount(what: string, actual: number, expected: number): void {
  if (actual === expected) return;
  throw new HalftoneError('SHAPE', `${actual} ${what} are given but ${expected} needed`, {
    where: 'wasmBackend',
    details: { actual, expected },
  });
}

/** Parameters from one row to the next, and columns that share one. */
function parameterSteps({ shape, scheme: { granularity } }: QuantizedTensor): readonly [number, number] {
  if (granularity.type === 'group') return [Math.ceil(shape[1] / granularity.size), granularity.size];
  return [granularity.type === 'tensor' ? 0 : 1, Math.max(1, shape[1])];
}

function packParameters(
  { scales, offsets }: AffineParameters,
  first: number,
  size: number,
  floats: Float32Array,
  to: number,
  { row, layout, blocks, columns }: Position,
): void {
  const groups = layout.groups;
  const step = blockBytes(layout) / 4;
  const width = BLOCK / groups;
  const last = Math.ceil(columns / size) - 1;
  for (let block = 0; block < blocks; block++) {
    for (let g = 0; g < groups; g++) {
      const from = first + Math.min(last, Math.floor((block * BLOCK + g * width) / size));
      const at = to + block * step + g * PANEL + row;
      floats[at] = scales[from];
      if (offsets !== undefined) floats[at + groups * PANEL] = offsets[from];
    }
  }
}

/** Four columns at a time. Flipping the top bit of a code turns signed into unsigned and back. */
function packNibbles(
  line: Uint32Array,
  flip: number,
  words: Uint32Array,
  to: number,
  { row, layout, blocks }: Position,
) {
  const step = blockBytes(layout) / 4;
  const half = BLOCK / 8;
  let at = to + headerBytes(layout) / 4 + row;
  for (let block = 0, from = 0; block < blocks; block++, at += step, from += 2 * half) {
    for (let i = 0; i < half; i++) {
      const low = (line[from + i] ^ flip) & 0x0f0f0f0f;
      words[at + PANEL * i] = low | (((line[from + half + i] ^ flip) & 0x0f0f0f0f) << 4);
    }
  }
}

function packBytes(
  line: Uint32Array,
  flip: number,
  mask: number,
  words: Uint32Array,
  to: number,
  { row, layout, blocks }: Position,
) {
  const step = blockBytes(layout) / 4;
  let at = to + headerBytes(layout) / 4 + row;
  for (let block = 0, from = 0; block < blocks; block++, at += step) {
    for (let i = 0; i < BLOCK / 4; i++, from++) words[at + PANEL * i] = (line[from] ^ flip) & mask;
  }
}
