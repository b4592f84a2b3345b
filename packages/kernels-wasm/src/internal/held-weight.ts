import type { UploadedLinear } from '@halftone/tensor';
import type { Arena } from './arena.js';
import {
  activationFormat,
  codeBits,
  kernelName,
  PANEL,
  RECORD_ROWS,
  recordBytes,
  TABLE_BYTES,
  type WasmBuild,
} from './layout.js';
import type { ProductKernel } from './product-kernels.js';
import type { PanelWeight } from './quantized-panels.js';
import { packTables } from './tables.js';

/** A weight in an arena's memory: panels of 8 output features. */
export interface HeldWeight extends UploadedLinear {
  readonly arena: Arena;
  readonly panels: number;
  readonly panelBytes: number;
  /** Columns of the panels: `inFeatures` rounded up to what the kernels need, with zeros. */
  readonly depth: number;
  readonly weight: number;
  /** `[8 panels]` float32, zeros where there is no bias. */
  readonly bias: number;
  /** Absent for float32 panels. */
  readonly quantized?: QuantizedPanels;
}

/** What products with a quantized weight need to know. */
export interface QuantizedPanels {
  /** Groups of a block, whether there are offsets, bits of a code. */
  readonly groups: number;
  readonly offsets: boolean;
  readonly bits: number;
  /** Subtracted from the codes. */
  readonly center: number;
  /** The address of what `packTables` writes. */
  readonly tables: number;
  /** Quantizes activations. */
  readonly quantize: ProductKernel;
  readonly gemv: ProductKernel;
  readonly gemm: ProductKernel;
  /** Bytes of 32 quantized activations. */
  readonly recordBytes: number;
  /** Rows of activations that the kernel takes together. */
  readonly rows: number;
}

/** What panels hold. */
export interface Panels {
  readonly shape: readonly [outFeatures: number, inFeatures: number];
  readonly depth: number;
  /** Of the panels. */
  readonly byteLength: number;
  /** Absent for float32 panels. */
  readonly quantized?: Pick<PanelWeight, 'layout' | 'center' | 'entries'>;
}

/** A weight that can be written into memory. */
export interface Packing extends Panels {
  readonly pack: (bytes: Uint8Array, floats: Float32Array, address: number) => void;
}

/** Bytes for the panels, the bias and the tables. */
export function heldBytes({ shape, byteLength }: Panels): number {
  return byteLength + Math.ceil(shape[0] / PANEL) * PANEL * 4 + TABLE_BYTES;
}

/** The weight whose panels lie at `at`, where there are `heldBytes` bytes: writes what follows them. */
export function holdPanels(
  build: WasmBuild,
  held: Panels,
  bias: Float32Array | undefined,
  arena: Arena,
  at: number,
): HeldWeight {
  const { shape, depth, byteLength, quantized } = held;
  const [outFeatures, inFeatures] = shape;
  const panels = Math.ceil(outFeatures / PANEL);
  const biasAt = at + byteLength;
  const tables = biasAt + panels * PANEL * 4;
  arena.floats.fill(0, biasAt / 4, tables / 4);
  if (bias !== undefined) arena.floats.set(bias, biasAt / 4);
  if (quantized !== undefined) packTables(quantized.entries, arena.bytes, tables);
  return {
    ...{ outFeatures, inFeatures, byteLength: heldBytes(held) },
    ...{ arena, panels, panelBytes: byteLength / panels, depth, weight: at, bias: biasAt },
    quantized: quantized && quantizedPanels(build, quantized, tables),
  };
}

function quantizedPanels(
  build: WasmBuild,
  { layout, center }: Pick<PanelWeight, 'layout' | 'center'>,
  tables: number,
): QuantizedPanels {
  const { groups, offsets, storage } = layout;
  const name = kernelName(build, layout);
  const format = activationFormat(build, storage);
  return {
    ...{ groups, offsets, bits: codeBits(storage), center, tables },
    quantize: `${format}Quantize`,
    gemv: `${name}Gemv`,
    gemm: `${name}Gemm`,
    recordBytes: recordBytes(format),
    rows: format === 'bytes' ? 1 : RECORD_ROWS,
  };
}
