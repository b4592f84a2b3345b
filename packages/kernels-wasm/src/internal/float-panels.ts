import { PANEL } from './layout.js';

/** Columns that the one-row kernel takes at a time. */
const STEP = 4;

export function floatDepth(inFeatures: number): number {
  return Math.ceil(inFeatures / STEP) * STEP;
}

/** Row-major `[out, in]` to panels `[panel][depth][8]` at `to`, an index into `floats`. */
export function packFloatPanels(
  values: Float32Array,
  outFeatures: number,
  inFeatures: number,
  floats: Float32Array,
  to: number,
): void {
  const size = PANEL;
  const depth = floatDepth(inFeatures);
  const panels = Math.ceil(outFeatures / size);
  if (outFeatures % size !== 0 || depth !== inFeatures) floats.fill(0, to, to + panels * depth * size);
  for (let row = 0; row < outFeatures; row++) {
    let at = to + Math.floor(row / size) * depth * size + (row % size);
    for (let from = row * inFeatures, end = from + inFeatures; from < end; from++, at += size)
      floats[at] = values[from];
  }
}
