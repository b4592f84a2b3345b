import { GGML_TYPES, isGgmlType } from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import type { Arena } from './arena.js';
import { floatDepth } from './float-panels.js';
import { BLOCK, blockBytes, PANEL } from './layout.js';
import { REPACK } from './modules/repack.js';
import { repackKernel } from './repack-kernels.js';
import { blockForm, type StoredType } from './stored-types.js';

/** Nanoseconds that one thread takes for a byte of a panel, about. */
const BYTE_COST = 0.2;

/** Columns of panels for rows of a type: whole blocks, or what float kernels take at a time. */
export function panelDepth(dtype: StoredType, columns: number): number {
  return isGgmlType(dtype) ? Math.ceil(columns / BLOCK) * BLOCK : floatDepth(columns);
}

export function panelBytes(dtype: StoredType, columns: number): number {
  const depth = panelDepth(dtype, columns);
  return isGgmlType(dtype) ? (depth / BLOCK) * blockBytes(blockForm(dtype).layout) : depth * PANEL * 4;
}

/** Rows as a file stores them, dense, in an arena: in memory for whole panels of 8 rows, whatever that holds. */
export interface StoredRows {
  readonly dtype: StoredType;
  readonly address: number;
  readonly rows: number;
  readonly rowBytes: number;
  readonly columns: number;
}

/**
 * Writes the panels of `stored` to `to`, in the same arena: byte for byte what `panelWeight(...).pack` writes for the unpacked
 * tensor, or `packFloatPanels` for the decoded one (but for the payloads of NaN). An operation for `inTurn`.
 */
export function repack(machine: Machine, arena: Arena, stored: StoredRows, to: number): void | Promise<void> {
  const { dtype, address, rows, rowBytes, columns } = stored;
  const panels = Math.ceil(rows / PANEL);
  const size = panelBytes(dtype, columns);
  const { job } = machine;
  job.start(arena, machine.compiled(REPACK), repackKernel(dtype));
  job.stepped(address, PANEL * rowBytes);
  job.value(rowBytes);
  job.stepped(to, size);
  job.value(isGgmlType(dtype) ? columns / GGML_TYPES[dtype].blockSize : columns);
  job.count();
  const pending = job.run(panels, size * BYTE_COST);
  if (rows % PANEL === 0) return pending;
  const clear = () => clearRows(arena, to + (panels - 1) * size, size, rows % PANEL);
  return pending === undefined ? clear() : pending.then(clear);
}

/** Panels are runs of 8 words, one for each row: rows from `first` on become zeros. */
function clearRows({ floats }: Arena, panel: number, byteLength: number, first: number): void {
  const end = (panel + byteLength) / 4;
  for (let at = panel / 4; at < end; at += PANEL) floats.fill(0, at + first, at + PANEL);
}
