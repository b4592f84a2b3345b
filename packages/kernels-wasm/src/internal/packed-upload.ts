import {
  HalftoneError,
  isGgmlType,
  type LazyTensor,
  type PackedTensor,
  packed,
  type ReadOptions,
  type RowRange,
  rowByteLength,
  throwIfAborted,
} from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import { ALIGNMENT } from './allocator.js';
import type { Arena } from './arena.js';
import { type HeldWeight, heldBytes, holdWeight, type WeightForm } from './held-weight.js';
import { PANEL } from './layout.js';
import { checkWeight } from './linear-checks.js';
import { panelBytes, panelDepth, repack } from './repack.js';
import { blockForm, isStoredType, type StoredType } from './stored-types.js';

/** Bytes of a file that wait in kernel memory at most, one panel at least. Most matrices then take one read. */
const STAGING_BYTES = 8 * 2 ** 20;
const WHERE = 'wasmBackend';

/**
 * A weight `[out, in]` from the bytes that its file holds: they go from the reader to kernel memory, a few rows at a time, and
 * become panels there. On failure nothing stays allocated.
 * Rejects with `UNSUPPORTED`, `SHAPE`, `DEVICE`, `ABORTED`, `IO` for ranges of a wrong size, and what the reader rejects with.
 */
export async function packedUpload(
  machine: Machine,
  weight: PackedTensor | LazyTensor,
  bias: Float32Array | undefined,
  { signal }: ReadOptions = {},
): Promise<HeldWeight> {
  machine.checkAlive();
  checkWeight(weight, bias);
  const dtype = storedType(weight);
  const [outFeatures, inFeatures] = weight.shape;
  const rowBytes = rowByteLength(dtype, inFeatures);
  const size = panelBytes(dtype, inFeatures);
  const form: WeightForm = {
    shape: [outFeatures, inFeatures],
    depth: panelDepth(dtype, inFeatures),
    byteLength: Math.ceil(outFeatures / PANEL) * size,
    quantized: isGgmlType(dtype) ? blockForm(dtype) : undefined,
  };
  const { arena, address, staging, stagingRows } = reserve(machine, heldBytes(form), rowBytes, outFeatures);
  const repackInTurn = machine.inTurn(repack);
  try {
    for (let start = 0; start < outFeatures; start += stagingRows) {
      throwIfAborted(signal, WHERE);
      const rows = Math.min(stagingRows, outFeatures - start);
      const into = arena.bytes.subarray(staging, staging + rows * rowBytes);
      await readRows(weight, { start, end: start + rows }, into, signal);
      machine.checkAlive();
      const stored = { dtype, address: staging, rows, rowBytes, columns: inFeatures };
      await repackInTurn(machine, arena, stored, address + (start / PANEL) * size);
    }
  } catch (error) {
    arena.free(address);
    throw error;
  } finally {
    arena.free(staging);
  }
  return holdWeight(machine.build, form, bias, arena, address);
}

function storedType(weight: PackedTensor | LazyTensor): StoredType {
  const { dtype, shape } = weight;
  if (!isStoredType(dtype)) {
    throw new HalftoneError('UNSUPPORTED', `weights stored as ${dtype} are not taken; decode the weight first`, {
      where: WHERE,
      details: { dtype },
    });
  }
  if (weight.kind === 'packed') packed(dtype, shape, weight.bytes);
  return dtype;
}

interface Room {
  readonly arena: Arena;
  readonly address: number;
  readonly staging: number;
  /** Whole panels. */
  readonly stagingRows: number;
}

/** Memory for a weight, and in the same arena for rows that wait: fewer than wanted where the arena is nearly full. */
function reserve(machine: Machine, byteLength: number, rowBytes: number, rows: number): Room {
  const leastBytes = PANEL * rowBytes;
  const [arena, both] = machine.place(byteLength + ALIGNMENT + leastBytes);
  arena.free(both);
  const address = arena.allocate(byteLength) as number;
  let stagingPanels = Math.min(Math.ceil(rows / PANEL), Math.max(1, Math.floor(STAGING_BYTES / leastBytes)));
  for (;;) {
    const staging = arena.allocate(stagingPanels * leastBytes);
    if (staging !== undefined) return { arena, address, staging, stagingRows: stagingPanels * PANEL };
    stagingPanels = Math.ceil(stagingPanels / 2);
  }
}

async function readRows(
  weight: PackedTensor | LazyTensor,
  rows: RowRange,
  into: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  let bytes: Uint8Array;
  if (weight.kind === 'lazy') ({ bytes } = await weight.read(rows, { signal, into }));
  else {
    const rowBytes = into.length / (rows.end - rows.start);
    bytes = weight.bytes.subarray(rows.start * rowBytes, rows.end * rowBytes);
  }
  if (bytes.length !== into.length) {
    throw new HalftoneError(
      'IO',
      `rows [${rows.start}, ${rows.end}) take ${into.length} bytes, the reader gave ${bytes.length}; it must give the range asked for`,
      {
        where: WHERE,
        details: { rows, expected: into.length, actual: bytes.length },
      },
    );
  }
  if (bytes !== into) into.set(bytes);
}
