import type { Awaitable, UploadedLinear } from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import type { HeldColumns, HeldNarrow, HeldSides } from './held-sides.js';
import { PANEL } from './layout.js';
import type { LinearLayers } from './linear-layers.js';
import { SIDES } from './modules/sides.js';
import { SPARSE_ROWS } from './side-kernels.js';
import { type RowsCall, runSteps, type Step } from './steps.js';
import { workArrays } from './work-arrays.js';

/** Most rows worked on together: whole tiles of every kernel. */
const ROWS = 120;
/** Of their inputs and outputs, where even fewer rows fit. */
const WORK_BYTES = 16 * 2 ** 20;

/** Nanoseconds on one thread, roughly. */
const COST = { pickedValue: 0.8, scaledValue: 0.3, packedValue: 0.5, narrowProduct: 0.04, sparseProduct: 0.2 };

export interface SidedWeight extends UploadedLinear, HeldSides {
  readonly dense: UploadedLinear;
  /** `right` of the low-rank part. */
  readonly right?: UploadedLinear;
}

interface Call extends RowsCall {
  weight: SidedWeight;
  x: Float32Array;
  out: Float32Array;
  /** The rows at hand in the arena of the side branches. */
  xNow: Float32Array;
  outNow: Float32Array;
  /** What came out of the last step and goes into the next. */
  between: Float32Array;
}

function rowsTogether({ arena, inFeatures, outFeatures }: SidedWeight): number {
  const bytes = Math.min(WORK_BYTES, arena.scratchBytes);
  const tiles = Math.floor(bytes / (4 * (inFeatures + outFeatures) * SPARSE_ROWS));
  return Math.min(Math.max(tiles, 1) * SPARSE_ROWS, ROWS);
}

/** `x` times the dense part, then what each side branch adds to that, for some rows after the others. */
export function sidedProducts(
  runtime: Machine,
  { linear }: Pick<LinearLayers, 'linear'>,
): (weight: SidedWeight, x: Float32Array, rows: number, out: Float32Array) => Awaitable<void> {
  const { job } = runtime;
  const module = runtime.compiled(SIDES);
  const arrays = workArrays<'x' | 'picked' | 'narrow' | 'out'>();

  const place: Step<Call> = (call) => {
    const { weight, x, rows, out, first } = call;
    const { arena, inFeatures, outFeatures } = weight;
    const most = rowsTogether(weight);
    // A last row alone would take another path than its neighbours.
    const count = rows - first <= most + 1 ? rows - first : most;
    const all = count === rows;
    call.count = count;
    if (arena.owns(x)) call.xNow = all ? x : x.subarray(first * inFeatures);
    else {
      call.xNow = arrays.take(arena, 'x', count * inFeatures);
      const from = first * inFeatures;
      call.xNow.set(x.length === count * inFeatures ? x : x.subarray(from, from + count * inFeatures));
    }
    if (!arena.owns(out)) call.outNow = arrays.take(arena, 'out', count * outFeatures);
    else call.outNow = all ? out : out.subarray(first * outFeatures);
  };

  const pick = ({ weight, xNow, count }: Call, columns: HeldColumns, to: Float32Array): Awaitable<void> => {
    const { arena, inFeatures } = weight;
    const from = xNow.byteOffset;
    const ordered = columns.order !== undefined;
    job.start(arena, module, ordered ? 'gatherColumns' : 'scaleColumns');
    job.stepped(from, 4 * inFeatures);
    job.count();
    job.value(inFeatures);
    if (columns.order !== undefined) job.value(columns.order);
    job.value(columns.factors);
    if (ordered) job.value(columns.count);
    job.stepped(to.byteOffset, 4 * columns.count);
    return job.run(count, columns.count * (ordered ? COST.pickedValue : COST.scaledValue));
  };

  const addNarrow = ({ weight, count, outNow, between }: Call, { panels, width }: HeldNarrow): Awaitable<void> => {
    const { arena, outFeatures } = weight;
    const one = count === 1;
    const items = Math.ceil(outFeatures / PANEL);
    job.start(arena, module, one ? 'addNarrowRow' : 'addNarrow');
    job.stepped(panels, 4 * PANEL * width);
    job.value(between.byteOffset);
    job.stepped(outNow.byteOffset, 4 * PANEL);
    if (!one) job.value(count);
    job.count();
    job.value(width);
    job.stepped(outFeatures, -PANEL);
    if (!one) job.value(outFeatures);
    return job.run(items, count * width * PANEL * COST.narrowProduct);
  };

  const steps: readonly Step<Call>[] = [
    place,
    (call) => {
      const { weight, xNow, count } = call;
      call.between = xNow;
      if (weight.input === undefined) return undefined;
      call.between = arrays.take(weight.arena, 'picked', count * weight.inFeatures);
      return pick(call, weight.input, call.between);
    },
    ({ weight, between, count, outNow }) => linear(weight.dense, between, count, outNow),
    (call) => {
      const { weight, xNow, count } = call;
      if (weight.right === undefined) return undefined;
      call.between = arrays.take(weight.arena, 'narrow', count * weight.right.outFeatures);
      return linear(weight.right, xNow, count, call.between);
    },
    (call) => call.weight.lowRank && addNarrow(call, call.weight.lowRank),
    (call) => {
      const { weight, count } = call;
      if (weight.shared === undefined) return undefined;
      call.between = arrays.take(weight.arena, 'narrow', count * weight.shared.width);
      return pick(call, weight.shared.columns, call.between);
    },
    (call) => call.weight.shared && addNarrow(call, call.weight.shared),
    ({ weight, xNow, count }) => {
      if (weight.outliers === undefined || count === 1) return undefined;
      const { arena, inFeatures } = weight;
      const tiles = Math.ceil(count / SPARSE_ROWS);
      const tileBytes = 4 * SPARSE_ROWS * inFeatures;
      job.start(arena, module, 'packColumns');
      job.value(xNow.byteOffset);
      job.value(count);
      job.stepped(0, 1);
      job.count();
      job.value(inFeatures);
      job.stepped(arena.scratch(tiles * tileBytes), tileBytes);
      return job.run(tiles, SPARSE_ROWS * inFeatures * COST.packedValue);
    },
    ({ weight, xNow, outNow, count }) => {
      if (weight.outliers === undefined) return undefined;
      const { arena, inFeatures, outFeatures } = weight;
      const { pointers, entries, perRow } = weight.outliers;
      const one = count === 1;
      const tiles = Math.ceil(count / SPARSE_ROWS);
      job.start(arena, module, one ? 'addSparseRow' : 'addSparse');
      job.stepped(pointers, 4);
      job.value(entries);
      job.value(one ? xNow.byteOffset : arena.scratch(4 * tiles * SPARSE_ROWS * inFeatures));
      job.stepped(outNow.byteOffset, 4);
      if (!one) job.value(count);
      job.count();
      if (!one) {
        job.value(inFeatures);
        job.value(outFeatures);
      }
      return job.run(outFeatures, (1 + perRow) * count * COST.sparseProduct);
    },
    ({ weight, out, first, count, outNow }) => {
      if (weight.arena.owns(out)) return;
      const { outFeatures } = weight;
      out.set(outNow.subarray(0, count * outFeatures), first * outFeatures);
    },
  ];

  let call: Call | undefined;
  return (weight, x, rows, out) => {
    call ??= { weight, x, rows, out, first: 0, count: 0, xNow: x, outNow: out, between: x };
    call.weight = weight;
    call.x = x;
    call.rows = rows;
    call.out = out;
    call.first = 0;
    return runSteps(steps, call);
  };
}
