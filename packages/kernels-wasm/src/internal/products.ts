import type { HeldWeight } from './held-weight.js';
import { activationFormat, BLOCK, DEPTH, kernelName, PANEL, recordBytes, tileRows, type WasmBuild } from './layout.js';

/** Rows multiplied together. A depth block of their tiles fits the second-level cache; a multiple of 4 and of 6. */
const FLOAT_ROWS = 240;
/** Quantized activations of the rows multiplied together: half of a second-level cache of 1 MiB. */
const RECORDS_BYTES = 512 * 1024;
const INTEGER_ROWS = 4;
/** Of a chunk of rows. */
const SCRATCH_BYTES = 64 * 2 ** 20;
/** A dequantized panel of `DEPTH` columns, or the operands of a block. */
const PANEL_BYTES = DEPTH * PANEL * 4;

interface Chunk {
  readonly x: Float32Array;
  readonly firstRow: number;
  readonly rows: number;
  readonly out: Float32Array;
}

/** `out = x Wᵀ + bias` with float activations, in chunks of rows. */
export function floatProduct(build: WasmBuild, weight: HeldWeight, x: Float32Array, rows: number, out: Float32Array) {
  const { arena, kernels, panels, depth } = weight;
  const tile = tileRows(build);
  const tail = weight.quantized === undefined ? [] : quantizedArguments(weight.quantized);
  const rowBytes = 4 * (2 * depth + 2 * panels * PANEL);
  const most = chunkRows(weight, FLOAT_ROWS, tile, rowBytes);
  for (let firstRow = 0; firstRow < rows; firstRow += most) {
    const chunk: Chunk = { x, firstRow, rows: Math.min(most, rows - firstRow), out };
    const padded = chunk.rows === 1 ? 1 : Math.ceil(chunk.rows / tile) * tile;
    const xAt = arena.scratch(padded * rowBytes + PANEL_BYTES);
    const tilesAt = xAt + padded * depth * 4;
    const sumsAt = tilesAt + padded * depth * 4;
    const outAt = sumsAt + padded * panels * PANEL * 4;
    const panelAt = outAt + padded * 4 * (panels * PANEL);
    copyIn(weight, xAt, padded, chunk);
    kernels.fillBias(weight.bias, sumsAt, padded, panels);
    if (padded === 1) {
      if (tail.length === 0) kernels.floatGemv(weight.weight, xAt, sumsAt, panels, depth);
      else kernels.quantizedFloatGemv(weight.weight, xAt, sumsAt, panels, depth, ...tail, panelAt);
    } else {
      const tiles = padded / tile;
      kernels.packTiles(xAt, tiles, depth, tilesAt);
      if (tail.length === 0) kernels.floatGemm(tilesAt, weight.weight, sumsAt, tiles, panels, depth);
      else kernels.quantizedFloatGemm(tilesAt, weight.weight, sumsAt, tiles, panels, depth, ...tail, panelAt);
    }
    copyOut(weight, sumsAt, padded, outAt, chunk);
  }
}

/** `out = x Wᵀ + bias` with activations quantized to 8 bits in blocks of 32. */
export function integerProduct(build: WasmBuild, weight: HeldWeight, x: Float32Array, rows: number, out: Float32Array) {
  const { arena, kernels, panels, depth, quantized } = weight;
  if (quantized === undefined) return floatProduct(build, weight, x, rows, out);
  const { layout, center } = quantized;
  const name = kernelName(build, layout);
  const format = activationFormat(build, layout.storage);
  const blocks = depth / BLOCK;
  const recordsBytes = blocks * recordBytes(format);
  const rowBytes = recordsBytes + 4 * (depth + 2 * panels * PANEL);
  const most = chunkRows(weight, Math.max(INTEGER_ROWS, RECORDS_BYTES / recordsBytes), INTEGER_ROWS, rowBytes);
  for (let firstRow = 0; firstRow < rows; firstRow += most) {
    const chunk: Chunk = { x, firstRow, rows: Math.min(most, rows - firstRow), out };
    const padded = chunk.rows === 1 ? 1 : Math.ceil(chunk.rows / INTEGER_ROWS) * INTEGER_ROWS;
    const xAt = arena.scratch(padded * rowBytes + PANEL_BYTES);
    const recordsAt = xAt + padded * depth * 4;
    const sumsAt = recordsAt + padded * recordsBytes;
    const outAt = sumsAt + padded * panels * PANEL * 4;
    const operandsAt = outAt + padded * 4 * (panels * PANEL);
    copyIn(weight, xAt, padded, chunk);
    kernels[`${format}Quantize`](xAt, padded, blocks, center, recordsAt);
    kernels.fillBias(weight.bias, sumsAt, padded, panels);
    if (padded === 1) kernels[`${name}Gemv`](weight.weight, recordsAt, sumsAt, panels, blocks);
    else kernels[`${name}Gemm`](weight.weight, recordsAt, sumsAt, padded, panels, blocks, operandsAt);
    copyOut(weight, sumsAt, padded, outAt, chunk);
  }
}

function quantizedArguments({ layout, center }: NonNullable<HeldWeight['quantized']>): readonly number[] {
  return [layout.groups, Number(layout.offsets), Number(layout.storage === 'nibble'), center];
}

function chunkRows({ arena }: HeldWeight, wanted: number, multiple: number, rowBytes: number): number {
  const room = (Math.min(SCRATCH_BYTES, arena.scratchBytes) - PANEL_BYTES) / rowBytes;
  return Math.max(1, Math.floor(Math.min(wanted, room) / multiple)) * multiple;
}

/** Rows of `x` with zeros after each row and after the last. */
function copyIn({ arena, inFeatures, depth }: HeldWeight, xAt: number, padded: number, chunk: Chunk): void {
  const { x, firstRow, rows } = chunk;
  const { floats } = arena;
  const to = xAt / 4;
  if (depth === inFeatures) floats.set(x.subarray(firstRow * inFeatures, (firstRow + rows) * inFeatures), to);
  else {
    for (let row = 0; row < rows; row++) {
      const from = (firstRow + row) * inFeatures;
      floats.set(x.subarray(from, from + inFeatures), to + row * depth);
      floats.fill(0, to + row * depth + inFeatures, to + (row + 1) * depth);
    }
  }
  floats.fill(0, to + rows * depth, to + padded * depth);
}

function copyOut(
  { arena, kernels, outFeatures }: HeldWeight,
  sumsAt: number,
  padded: number,
  outAt: number,
  chunk: Chunk,
) {
  const { rows, firstRow, out } = chunk;
  let from = sumsAt / 4;
  if (padded > 1) {
    kernels.unpackSums(sumsAt, padded, outAt, rows, outFeatures);
    from = outAt / 4;
  }
  out.set(arena.floats.subarray(from, from + rows * outFeatures), firstRow * outFeatures);
}
