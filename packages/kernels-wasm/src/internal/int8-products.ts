import type { Awaitable } from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import type { HeldInt8 } from './held-int8.js';
import { EXPANDED_BYTES, type Int8Format, int8Format, int8FormatBytes, TILE_ROWS } from './int8-layout.js';
import { PANEL } from './layout.js';
import { INT8 } from './modules/int8.js';
import { type RowsCall, runSteps, type Step } from './steps.js';

/** Packed activations of the rows multiplied together: half of a second-level cache of 1 MiB. */
const PACKED_BYTES = 512 * 1024;
/** Of a chunk of rows. */
const SCRATCH_BYTES = 64 * 2 ** 20;
/** Beginnings of arrays in scratch memory: threads do not share cache lines. */
const ALIGNMENT = 64;

/** Nanoseconds on one thread, roughly. */
const COST = { weightByte: 0.06, product: 0.02, quantizedValue: 0.4, packedCode: 0.15 };

/** Codes with a scale for each row, or floats that are yet to be quantized. */
export type Int8Input = Int8Array | Float32Array;

interface Call extends RowsCall {
  weight: HeldInt8;
  x: Int8Input;
  /** Of all rows; unused with float inputs. */
  scales: Float32Array;
  out: Float32Array;
  format: Int8Format;
  /** Addresses, for the rows at hand. */
  xAt: number;
  codesAt: number;
  scalesAt: number;
  packedAt: number;
  sumsAt: number;
  outAt: number;
  scratchAt: number;
  scratchBytes: number;
}

export type Int8Multiply = (
  weight: HeldInt8,
  x: Int8Input,
  scales: Float32Array,
  rows: number,
  out: Float32Array,
) => Awaitable<void>;

/** `out[r, o] = sum * (scales[r] * factors[o]) + bias[o]` with sums of whole numbers. */
export function int8Products(runtime: Machine): Int8Multiply {
  const steps = [placeRows(runtime), quantize(runtime), pack(runtime), sumGroups(runtime), multiply(runtime), copyOut];
  let call: Call | undefined;
  return (weight, x, scales, rows, out) => {
    call ??= newCall(weight, x, scales, out);
    call.weight = weight;
    call.x = x;
    call.scales = scales;
    call.rows = rows;
    call.out = out;
    call.first = 0;
    return runSteps(steps, call);
  };
}

function newCall(weight: HeldInt8, x: Int8Input, scales: Float32Array, out: Float32Array): Call {
  const addresses = {
    xAt: 0,
    codesAt: 0,
    scalesAt: 0,
    packedAt: 0,
    sumsAt: 0,
    outAt: 0,
    scratchAt: 0,
    scratchBytes: 0,
  };
  return { weight, x, scales, out, format: 'words', rows: 0, first: 0, count: 0, ...addresses };
}

/** Chooses how many rows come next and the places of all that they need, and copies in what is elsewhere. */
function placeRows(runtime: Machine): Step<Call> {
  return (call) => {
    const { weight, x, scales, out, rows, first } = call;
    const { arena, depth, inFeatures, outFeatures, groups, storage } = weight;
    const one = rows === 1;
    call.format = int8Format(runtime.build, storage, one);
    const packedBytes = int8FormatBytes(call.format) * depth;
    const floats = x instanceof Float32Array;
    const inPlace = arena.owns(x) && (floats || depth === inFeatures);
    const bytes = {
      x: inPlace || !floats ? 0 : 4 * inFeatures,
      codes: inPlace && !floats ? 0 : depth,
      out: arena.owns(out) ? 0 : 4 * outFeatures,
    };
    const perRow = bytes.x + bytes.codes + packedBytes + 4 * groups + 4 + bytes.out + 8 * PANEL * runtime.threads;
    const room = Math.min(SCRATCH_BYTES, arena.scratchBytes) - runtime.threads * (EXPANDED_BYTES + ALIGNMENT);
    const most = Math.floor(Math.min(PACKED_BYTES / packedBytes, room / perRow - TILE_ROWS) / TILE_ROWS);
    const count = Math.min(Math.max(1, most) * TILE_ROWS, rows - first);
    call.count = count;
    const padded = one ? 1 : Math.ceil(count / TILE_ROWS) * TILE_ROWS;
    const lengths = {
      x: align(count * bytes.x),
      codes: align(count * bytes.codes),
      scales: align(4 * count),
      packed: align(padded * packedBytes),
      sums: align(4 * count * groups),
      out: align(count * bytes.out),
    };
    call.scratchBytes = one ? 0 : align(2 * padded * PANEL * 4 + EXPANDED_BYTES);
    const total = lengths.x + lengths.codes + lengths.scales + lengths.packed + lengths.sums + lengths.out;
    let at = arena.scratch(total + runtime.threads * call.scratchBytes);
    call.xAt = floats && inPlace ? x.byteOffset + 4 * first * inFeatures : at;
    at += lengths.x;
    call.codesAt = !floats && inPlace ? x.byteOffset + first * inFeatures : at;
    at += lengths.codes;
    call.scalesAt = at;
    at += lengths.scales;
    call.packedAt = at;
    at += lengths.packed;
    call.sumsAt = at;
    at += lengths.sums;
    call.outAt = arena.owns(out) ? out.byteOffset + 4 * first * outFeatures : at;
    call.scratchAt = at + lengths.out;
    if (!floats) arena.floats.set(scales.subarray(first, first + count), call.scalesAt / 4);
    if (!inPlace) copyIn(call);
  };
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function copyIn({ weight, x, first, count, xAt, codesAt }: Call): void {
  const { arena, inFeatures, depth } = weight;
  const from = first * inFeatures;
  if (x instanceof Float32Array) {
    arena.floats.set(x.subarray(from, from + count * inFeatures), xAt / 4);
    return;
  }
  const { bytes } = arena;
  for (let row = 0; row < count; row++) {
    const at = codesAt + row * depth;
    const start = from + row * inFeatures;
    bytes.set(x.subarray(start, start + inFeatures), at);
    bytes.fill(0, at + inFeatures, at + depth);
  }
}

function quantize(runtime: Machine): Step<Call> {
  const { job } = runtime;
  const module = runtime.compiled(INT8);
  return ({ weight, x, count, xAt, codesAt, scalesAt }) => {
    if (!(x instanceof Float32Array)) return undefined;
    const { arena, inFeatures, depth } = weight;
    job.start(arena, module, 'quantizeRows');
    job.stepped(xAt, 4 * inFeatures);
    job.count();
    job.value(inFeatures);
    job.value(0);
    job.stepped(codesAt, depth);
    job.value(depth);
    job.stepped(scalesAt, 4);
    return job.run(count, inFeatures * COST.quantizedValue);
  };
}

function pack(runtime: Machine): Step<Call> {
  const { job } = runtime;
  const module = runtime.compiled(INT8);
  return (call) => {
    const { weight, rows, count, codesAt, packedAt, format } = call;
    const { arena, depth } = weight;
    const blocks = depth / 32;
    if (format === 'words' || format === 'nibbleWords') {
      job.start(arena, module, format === 'words' ? 'packWords' : 'packNibbleWords');
      job.value(codesAt);
      job.value(blocks);
      job.value(packedAt);
      return job.run(1, 0);
    }
    if (format === 'bytes') {
      // One row is packed already.
      if (rows === 1) {
        call.packedAt = codesAt;
        return undefined;
      }
      job.start(arena, module, 'packBytes');
      job.stepped(codesAt, depth);
      job.count();
      job.value(count);
      job.value(blocks);
      job.stepped(packedAt, 32);
      return job.run(count, depth * COST.packedCode);
    }
    const tiles = Math.ceil(count / TILE_ROWS);
    job.start(arena, module, 'packTiles');
    job.value(codesAt);
    job.value(count);
    job.stepped(0, 1);
    job.count();
    job.value(depth);
    job.stepped(packedAt, 2 * TILE_ROWS * depth);
    return job.run(tiles, TILE_ROWS * depth * COST.packedCode);
  };
}

/** Sums of activations, by which kernels that leave nibbles as they are stored correct their results. */
function sumGroups(runtime: Machine): Step<Call> {
  const { job } = runtime;
  const module = runtime.compiled(INT8);
  return ({ weight, count, codesAt, sumsAt, format }) => {
    if (weight.storage !== 'nibble' || format === 'tiles') return undefined;
    const { arena, depth, groups, blocks } = weight;
    job.start(arena, module, 'groupSums');
    job.stepped(codesAt, depth);
    job.count();
    job.value(depth);
    job.value(groups);
    job.value(blocks);
    job.value(count);
    job.stepped(sumsAt, 4);
    return job.run(count, depth * COST.packedCode);
  };
}

function multiply(runtime: Machine): Step<Call> {
  const { job } = runtime;
  const module = runtime.compiled(INT8);
  return ({ weight, rows, count, packedAt, sumsAt, scalesAt, outAt, scratchAt, scratchBytes }) => {
    const { arena, storage, panels, panelBytes, groups, blocks, level, outFeatures, depth } = weight;
    const one = rows === 1;
    job.start(arena, module, kernelName(storage === 'nibble', one));
    job.stepped(weight.weight, panelBytes);
    job.value(packedAt);
    job.value(sumsAt);
    job.stepped(outAt, PANEL * 4);
    if (!one) job.value(count);
    job.count();
    job.value(groups);
    job.value(blocks);
    job.value(level);
    job.stepped(weight.factors, PANEL * 4);
    job.stepped(weight.bias, PANEL * 4);
    job.stepped(outFeatures, -PANEL);
    if (!one) job.value(outFeatures);
    job.value(scalesAt);
    if (!one) job.perThread(scratchAt, scratchBytes);
    return job.run(panels, panelBytes * COST.weightByte + count * depth * PANEL * COST.product);
  };
}

function kernelName(nibbles: boolean, one: boolean): 'nibbleGemv' | 'nibbleGemm' | 'byteGemv' | 'byteGemm' {
  if (nibbles) return one ? 'nibbleGemv' : 'nibbleGemm';
  return one ? 'byteGemv' : 'byteGemm';
}

const copyOut: Step<Call> = ({ weight, out, first, count, outAt }) => {
  const { arena, outFeatures } = weight;
  if (arena.owns(out)) return;
  out.set(arena.floats.subarray(outAt / 4, outAt / 4 + count * outFeatures), first * outFeatures);
};
