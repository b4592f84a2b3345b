import type { UploadedLinear } from '@halftone/tensor';
import type { Arena } from './arena.js';
import { activationFormat, kernelName, type Layout, RECORD_ROWS, recordBytes, type WasmBuild } from './layout.js';
import type { ProductKernel } from './product-kernels.js';

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
  readonly layout: Layout;
  /** Subtracted from the codes. */
  readonly center: number;
  /** Quantizes activations. */
  readonly quantize: ProductKernel;
  readonly gemv: ProductKernel;
  readonly gemm: ProductKernel;
  /** Bytes of 32 quantized activations. */
  readonly recordBytes: number;
  /** Rows of activations that the kernel takes together. */
  readonly rows: number;
}

export function quantizedPanels(build: WasmBuild, layout: Layout, center: number): QuantizedPanels {
  const name = kernelName(build, layout);
  const format = activationFormat(build, layout.storage);
  return {
    layout,
    center,
    quantize: `${format}Quantize`,
    gemv: `${name}Gemv`,
    gemm: `${name}Gemm`,
    recordBytes: recordBytes(format),
    rows: format === 'bytes' ? 1 : RECORD_ROWS,
  };
}
