import type { UploadedLinear } from '@halftone/tensor';
import type { Arena } from './arena.js';
import {
  activationFormat,
  codeBits,
  kernelName,
  type Layout,
  PANEL,
  RECORD_ROWS,
  recordBytes,
  TABLE_BYTES,
  type WasmBuild,
} from './layout.js';
import type { ProductKernel } from './product-kernels.js';
import { type ReadAhead, readAhead } from './read-ahead.js';
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
  /** Changes with use. */
  readonly readAhead: ReadAhead;
}

/** What panels hold, wherever they come from. */
export interface WeightForm {
  readonly shape: readonly [outFeatures: number, inFeatures: number];
  readonly depth: number;
  /** Of the panels. */
  readonly byteLength: number;
  /** Absent for float32 panels. */
  readonly quantized?: QuantizedForm;
}

export interface QuantizedForm {
  readonly layout: Layout;
  /** Subtracted from stored codes. */
  readonly center: number;
  /** `[16]`: what stored codes of less than 8 bits stand for, before scales and offsets. */
  readonly entries: Float32Array;
}

/** Bytes for the panels, the bias and the tables. */
export function heldBytes({ shape, byteLength, quantized }: WeightForm): number {
  return byteLength + Math.ceil(shape[0] / PANEL) * PANEL * 4 + (quantized ? TABLE_BYTES : 0);
}

/** A weight whose panels are, or will be, at `at`, where there are `heldBytes` bytes. Writes what follows the panels. */
export function holdWeight(
  build: WasmBuild,
  form: WeightForm,
  bias: Float32Array | undefined,
  arena: Arena,
  at: number,
): HeldWeight {
  const { shape, depth, byteLength, quantized } = form;
  const [outFeatures, inFeatures] = shape;
  const panels = Math.ceil(outFeatures / PANEL);
  const biasAt = at + byteLength;
  const tables = biasAt + panels * PANEL * 4;
  arena.floats.fill(0, biasAt / 4, tables / 4);
  if (bias !== undefined) arena.floats.set(bias, biasAt / 4);
  if (quantized !== undefined) packTables(quantized.entries, arena.bytes, tables);
  return {
    ...{ outFeatures, inFeatures, byteLength: heldBytes(form) },
    ...{ arena, panels, panelBytes: byteLength / panels, depth, weight: at, bias: biasAt },
    quantized: quantized && quantizedPanels(build, quantized, tables, byteLength),
  };
}

function quantizedPanels(
  build: WasmBuild,
  { layout, center }: QuantizedForm,
  tables: number,
  byteLength: number,
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
    readAhead: readAhead(byteLength),
  };
}
