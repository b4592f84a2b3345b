import type { AttentionShape } from '@halftone/tensor';
import type { Attention } from '../attention.js';
import type { KvSegment } from '../kv-segment.js';
import type { Machine } from '../runtime.js';
import type { Arena } from './arena.js';
import { checkAttention, checkPartials, checkSegment } from './attention-checks.js';
import {
  align,
  attentionScratchBytes,
  CALL,
  CALL_BYTES,
  QUERIES,
  SEGMENT_BYTES,
  SIDE_BYTES,
  SPLIT,
} from './attention-layout.js';
import type { AttentionModule } from './modules/float-attention.js';
import { entriesData, missingBytes, placeEntries } from './stored-entries.js';
import { writeVisibleEntries } from './visible-entries.js';

/** Nanoseconds on one thread, roughly, for a channel of a query and an entry, and for one of an entry alone. */
const COST = { pair: 0.1, entry: 0.2 };
const EMPTY: KvSegment = {
  length: 0,
  keys: new Float32Array(0),
  values: new Float32Array(0),
  positions: new Int32Array(0),
};

/** A call on its way. Fields change from call to call, so that calls allocate nothing. */
interface Call {
  shape: AttentionShape;
  query: Float32Array;
  positions: Int32Array;
  /** `[kvHeads]`, and more from earlier calls. */
  readonly segments: KvSegment[];
  /** Where results go: `[rows, heads, headDim]`, and `[rows, heads]` twice for partials. */
  values: Float32Array;
  maxima?: Float32Array;
  sums?: Float32Array;
  arena: Arena;
  rowsPerTile: number;
  tiles: number;
  splits: number;
  /** The next free byte of the scratch memory. */
  free: number;
  valuesAt: number;
  maximaAt: number;
  sumsAt: number;
  splitValuesAt: number;
  splitMaximaAt: number;
  splitSumsAt: number;
}

/** `module` has kernels for everything that is stored in the segments. */
export function attentionOperations(machine: Machine, module: AttentionModule): Attention {
  let home: Arena | undefined;
  let call: Call | undefined;

  const start = (
    shape: AttentionShape,
    query: Float32Array,
    positions: Int32Array,
    segment: (kvHead: number) => KvSegment,
    values: Float32Array,
    maxima?: Float32Array,
    sums?: Float32Array,
  ): void | Promise<void> => {
    machine.checkAlive();
    checkAttention(shape, positions.length, query.length, values.length);
    if (positions.length === 0) return undefined;
    home ??= machine.place(CALL_BYTES)[0];
    call ??= newCall(shape, query, positions, values, home);
    call.shape = shape;
    call.query = query;
    call.positions = positions;
    call.values = values;
    call.maxima = maxima;
    call.sums = sums;
    collect(machine, call, home, segment);
    const pending = run(machine, module, call);
    return pending === undefined ? finish() : pending.then(finish);
  };
  const finish = () => {
    const done = call as Call;
    if (done.splits > 1) merge(machine, module, done);
    copyOut(done);
    done.segments.fill(EMPTY);
  };

  return {
    attend: (shape, query, positions, segment, out) => start(shape, query, positions, segment, out),
    attendPartial(shape, query, positions, segment, partials) {
      checkPartials(shape, positions.length, partials);
      return start(shape, query, positions, segment, partials.values, partials.maxima, partials.sums);
    },
  };
}

function newCall(
  shape: AttentionShape,
  query: Float32Array,
  positions: Int32Array,
  values: Float32Array,
  arena: Arena,
): Call {
  const counts = { rowsPerTile: 1, tiles: 1, splits: 1, free: 0 };
  const places = { valuesAt: 0, maximaAt: 0, sumsAt: 0, splitValuesAt: 0, splitMaximaAt: 0, splitSumsAt: 0 };
  return { shape, query, positions, segments: [], values, arena, ...counts, ...places };
}

/** Takes the segments, chooses the memory to work in and how the work is divided: by the sizes alone, never by the threads. */
function collect(machine: Machine, call: Call, home: Arena, segment: (kvHead: number) => KvSegment): void {
  const { heads, kvHeads, headDim } = call.shape;
  const rows = call.positions.length;
  let arena: Arena | undefined;
  let longest = 0;
  for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
    const entries = segment(kvHead);
    checkSegment(entries, kvHead, headDim);
    call.segments[kvHead] = entries;
    longest = Math.max(longest, entries.length);
    arena ??= machine.arenaOf(entriesData(entries.keys));
  }
  call.arena = arena ?? machine.arenaOf(call.query) ?? home;
  call.rowsPerTile = Math.max(1, Math.floor((QUERIES * kvHeads) / heads));
  call.tiles = Math.ceil(rows / call.rowsPerTile);
  // Many rows share the entries of a tile, and give work enough to every thread.
  call.splits = call.tiles > 1 ? 1 : Math.max(1, Math.ceil(longest / SPLIT));
}

function run(machine: Machine, module: AttentionModule, call: Call): void | Promise<void> {
  const { shape, positions, arena, segments, rowsPerTile, tiles, splits } = call;
  const { heads, kvHeads, headDim, window = Number.POSITIVE_INFINITY } = shape;
  const rows = positions.length;
  const group = heads / kvHeads;
  const scratchBytes = align(attentionScratchBytes(Math.min(rows, rowsPerTile) * group, headDim));
  const threads = machine.threads;
  call.free = arena.scratch(neededBytes(call) + threads * scratchBytes);
  const at = take(call, CALL_BYTES);
  const rangesAt = take(call, 8 * kvHeads * rows);
  const segmentsAt = take(call, kvHeads * SEGMENT_BYTES);
  const scratchAt = take(call, threads * scratchBytes);
  const queryAt = copyIn(call, call.query, rows * heads * headDim);
  placeResults(call, rows * heads);

  const { integers, floats } = arena;
  let seen = 0;
  for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
    const { length, keys, values, positions: held } = segments[kvHead];
    seen += writeVisibleEntries(held, length, positions, window, integers, rangesAt / 4 + 2 * kvHead * rows);
    const side = segmentsAt + kvHead * SEGMENT_BYTES;
    call.free = placeEntries(arena, keys, length, headDim, side, call.free);
    call.free = placeEntries(arena, values, length, headDim, side + SIDE_BYTES, call.free);
  }
  const split = splits > 1;
  integers[(at + CALL.query) / 4] = queryAt;
  integers[(at + CALL.rows) / 4] = rows;
  integers[(at + CALL.heads) / 4] = heads;
  integers[(at + CALL.headDim) / 4] = headDim;
  integers[(at + CALL.group) / 4] = group;
  integers[(at + CALL.rowsPerTile) / 4] = rowsPerTile;
  integers[(at + CALL.tiles) / 4] = tiles;
  integers[(at + CALL.splits) / 4] = splits;
  integers[(at + CALL.ranges) / 4] = rangesAt;
  integers[(at + CALL.segments) / 4] = segmentsAt;
  integers[(at + CALL.values) / 4] = split ? call.splitValuesAt : call.valuesAt;
  integers[(at + CALL.maxima) / 4] = split ? call.splitMaximaAt : call.maximaAt;
  integers[(at + CALL.sums) / 4] = split ? call.splitSumsAt : call.sumsAt;
  integers[(at + CALL.finish) / 4] = split || call.maxima !== undefined ? 0 : 1;
  floats[(at + CALL.scale) / 4] = 1 / Math.sqrt(headDim);

  const { job } = machine;
  job.start(arena, machine.compiled(module), 'attendItems');
  job.value(at);
  job.stepped(0, 1);
  job.count();
  job.perThread(scratchAt, scratchBytes);
  const items = kvHeads * tiles * splits;
  return job.run(items, (seen * headDim * (group * COST.pair + COST.entry)) / items);
}

/** Scratch memory but for that of the threads. */
function neededBytes({ shape, query, positions, segments, values, maxima, sums, arena, splits }: Call): number {
  const { heads, kvHeads, headDim } = shape;
  const rows = positions.length;
  const vectors = rows * heads;
  let bytes = align(CALL_BYTES) + align(8 * kvHeads * rows) + align(kvHeads * SEGMENT_BYTES);
  if (splits > 1) bytes += align(4 * splits * vectors * headDim) + 2 * align(4 * splits * vectors);
  if (!arena.owns(query)) bytes += align(4 * vectors * headDim);
  if (!arena.owns(values)) bytes += align(4 * vectors * headDim);
  if (maxima !== undefined && !arena.owns(maxima)) bytes += align(4 * vectors);
  if (sums !== undefined && !arena.owns(sums)) bytes += align(4 * vectors);
  for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
    const { keys, values: held, length } = segments[kvHead];
    bytes += missingBytes(arena, keys, length, headDim) + missingBytes(arena, held, length, headDim);
  }
  return bytes;
}

function placeResults(call: Call, vectors: number): void {
  const { arena, splits, values, maxima, sums } = call;
  const { headDim } = call.shape;
  call.valuesAt = arena.owns(values) ? values.byteOffset : take(call, 4 * vectors * headDim);
  if (maxima !== undefined) call.maximaAt = arena.owns(maxima) ? maxima.byteOffset : take(call, 4 * vectors);
  if (sums !== undefined) call.sumsAt = arena.owns(sums) ? sums.byteOffset : take(call, 4 * vectors);
  if (splits === 1) return;
  call.splitValuesAt = take(call, 4 * splits * vectors * headDim);
  call.splitMaximaAt = take(call, 4 * splits * vectors);
  call.splitSumsAt = take(call, 4 * splits * vectors);
}

function merge(machine: Machine, module: AttentionModule, call: Call): void {
  const { heads, headDim } = call.shape;
  machine
    .kernels(call.arena, module)
    .mergeSplits(
      call.splitValuesAt,
      call.splitMaximaAt,
      call.splitSumsAt,
      call.splits,
      call.positions.length * heads,
      headDim,
      call.maxima === undefined ? 1 : 0,
      call.valuesAt,
      call.maximaAt,
      call.sumsAt,
    );
}

function copyOut(call: Call): void {
  const vectors = call.positions.length * call.shape.heads;
  copyBack(call.arena, call.valuesAt, vectors * call.shape.headDim, call.values);
  if (call.maxima !== undefined) copyBack(call.arena, call.maximaAt, vectors, call.maxima);
  if (call.sums !== undefined) copyBack(call.arena, call.sumsAt, vectors, call.sums);
}

/** Element by element: views of typed arrays would be allocated. */
function copyBack({ floats, owns }: Arena, at: number, length: number, to: Float32Array): void {
  if (owns(to)) return;
  const from = at / 4;
  for (let i = 0; i < length; i++) to[i] = floats[from + i];
}

function copyIn(call: Call, from: Float32Array, length: number): number {
  const { arena } = call;
  if (arena.owns(from)) return from.byteOffset;
  const at = take(call, 4 * length);
  const { floats } = arena;
  for (let i = 0, to = at / 4; i < length; i++, to++) floats[to] = from[i];
  return at;
}

function take(call: Call, bytes: number): number {
  const at = call.free;
  call.free += align(bytes);
  return at;
}
