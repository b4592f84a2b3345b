import { BLOCK, blockBytes, codeBits, headerBytes, type Layout, PANEL } from './layout.js';

/** What goes into quantized panels, row after row. */
export interface PanelSource {
  readonly shape: readonly [outFeatures: number, inFeatures: number];
  /** Row-major, one a byte. */
  readonly codes: Uint8Array;
  /** Flips the top bit of codes, which turns signed into unsigned and back; 0 where they are stored as they are. */
  readonly flip: number;
  /** Bits of a code that are kept. */
  readonly mask: number;
  readonly scales: Float32Array;
  readonly offsets?: Float32Array;
  /** Parameters from one row to the next. */
  readonly rowStep: number;
  /** Columns that share parameters: whole half-blocks, or all. */
  readonly groupSize: number;
}

export function panelsByteLength([outFeatures, inFeatures]: readonly number[], layout: Layout): number {
  return Math.ceil(outFeatures / PANEL) * Math.ceil(inFeatures / BLOCK) * blockBytes(layout);
}

/** Writes panels at `address` of the memory that `bytes` and `floats` are views of. */
export function packPanels(
  source: PanelSource,
  layout: Layout,
  bytes: Uint8Array,
  floats: Float32Array,
  address: number,
): void {
  const [outFeatures, inFeatures] = source.shape;
  const blocks = Math.ceil(inFeatures / BLOCK);
  const panelBytes = blocks * blockBytes(layout);
  const words = new Uint32Array(bytes.buffer);
  const line = new Uint8Array(blocks * BLOCK);
  const lineWords = new Uint32Array(line.buffer);
  // Rows that no feature has get scales of zero.
  const panels = Math.ceil(outFeatures / PANEL);
  if (outFeatures % PANEL !== 0) bytes.fill(0, address + (panels - 1) * panelBytes, address + panels * panelBytes);
  for (let row = 0; row < outFeatures; row++) {
    const to = (address + Math.floor(row / PANEL) * panelBytes) / 4 + (row % PANEL);
    packParameters(source, layout, row, floats, to);
    line.set(source.codes.subarray(row * inFeatures, (row + 1) * inFeatures));
    packCodes(source, layout, lineWords, words, to + headerBytes(layout) / 4);
  }
}

function packParameters(source: PanelSource, layout: Layout, row: number, floats: Float32Array, to: number): void {
  const { scales, offsets, rowStep, groupSize, shape } = source;
  const { groups } = layout;
  const step = blockBytes(layout) / 4;
  const blocks = Math.ceil(shape[1] / BLOCK);
  const last = Math.ceil(shape[1] / groupSize) - 1;
  for (let block = 0; block < blocks; block++) {
    for (let g = 0; g < groups; g++) {
      const from = row * rowStep + Math.min(last, Math.floor((block * BLOCK + (g * BLOCK) / groups) / groupSize));
      const at = to + block * step + g * PANEL;
      floats[at] = scales[from];
      if (offsets !== undefined) floats[at + groups * PANEL] = offsets[from];
    }
  }
}

/** Four columns at a time, in the order that `Storage` describes. */
function packCodes(source: PanelSource, layout: Layout, line: Uint32Array, words: Uint32Array, to: number): void {
  const bits = codeBits(layout.storage);
  const step = blockBytes(layout) / 4;
  const flip = source.flip * 0x01010101;
  const mask = source.mask * 0x01010101;
  // As many vectors as bits.
  for (let from = 0, at = to; from < line.length; from += BLOCK / 4, at += step) {
    for (let vector = 0; vector < bits; vector++) {
      let word = 0;
      for (let shift = 0, i = from + vector; shift < 8; shift += bits, i += bits) {
        word |= ((line[i] ^ flip) & mask) << shift;
      }
      words[at + PANEL * vector] = word;
    }
  }
}
