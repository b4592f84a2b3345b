import {
  float16ToNumber,
  HalftoneError,
  numberToFloat16,
  type PackedTensor,
  type QuantizeContext,
} from '@halftone/tensor';

/**
 * Float32 scales as f16 `[rows, scales / rows]`, rounded to nearest even.
 * Throws `NUMERIC` naming the row and column for a scale beyond 65504: ggml would write an infinity there.
 */
export function storeF16(
  scales: Float32Array,
  rows: number,
  columnsPerScale: number,
  context: QuantizeContext,
  type: string,
): PackedTensor<'f16'> {
  const words = new Uint16Array(scales.length);
  const perRow = rows === 0 ? 0 : scales.length / rows;
  for (let i = 0; i < scales.length; i++) {
    const bits = numberToFloat16(scales[i]);
    if ((bits & 0x7c00) === 0x7c00) {
      const row = Math.floor(i / perRow);
      const column = (i % perRow) * columnsPerScale;
      throw new HalftoneError(
        'NUMERIC',
        `${context.name}: the weights at row ${row} from column ${column} are too large for ${type}, whose scales are float16; keep this tensor in bf16 or f32`,
        { where: `ggml:${type}`, details: { tensor: context.name, row, column, scale: scales[i] } },
      );
    }
    words[i] = bits;
  }
  return { kind: 'packed', dtype: 'f16', shape: [rows, perRow], bytes: new Uint8Array(words.buffer) };
}

/** The value that f16 stores for a scale; too large ones stay infinite and are refused by `storeF16`. */
export function storableF16(scale: number): number {
  return float16ToNumber(numberToFloat16(scale));
}
