import type { CompiledModule } from './compiled-module.js';
import type { HeldWeight, QuantizedPanels } from './held-weight.js';
import type { Job } from './job.js';
import { BLOCK, DEPTH, EXPANDED_BYTES, GROUP_PANELS, PANEL, TABLE, tileRows, type WasmBuild } from './layout.js';
import { isTrying, readsAhead, recordTrial } from './read-ahead.js';

/** Rows multiplied together. A depth block of their tiles fits the second-level cache; a multiple of 4 and of 6. */
const FLOAT_ROWS = 240;
/** Quantized activations of the rows multiplied together: half of a second-level cache of 1 MiB. */
const RECORDS_BYTES = 512 * 1024;
/** Of a chunk of rows. */
const SCRATCH_BYTES = 64 * 2 ** 20;
/** The float columns of a panel. */
const COLUMNS_BYTES = DEPTH * PANEL * 4;
/** Beginnings of arrays in scratch memory: threads do not share cache lines. */
const ALIGNMENT = 64;

/** Nanoseconds on one thread, roughly: they decide how a job is shared out. */
const COST = { weightByte: 0.07, integerProduct: 0.025, floatProduct: 0.05, packedValue: 0.4 };

/** Where products run. */
export interface ProductMachine {
  readonly build: WasmBuild;
  threads(): number;
  readonly job: Job;
  readonly module: CompiledModule;
}

/** `out = x Wᵀ + bias`, as `KernelBackend.linear`. */
export type Product = (weight: HeldWeight, x: Float32Array, rows: number, out: Float32Array) => void | Promise<void>;

/** A product on its way, and where its rows `first` to `first + count` are. Fields change, so that calls allocate nothing. */
interface Call {
  weight: HeldWeight;
  x: Float32Array;
  rows: number;
  out: Float32Array;
  first: number;
  count: number;
  /** Rows of the packed activations: `count` rounded up to whole tiles. */
  padded: number;
  xAt: number;
  packedAt: number;
  outAt: number;
  scratchAt: number;
  scratchBytes: number;
}

/** What differs between float and quantized activations. */
interface Route {
  /** Most rows that should be multiplied together, a multiple of `multiple`. */
  rows(weight: HeldWeight): number;
  multiple(weight: HeldWeight): number;
  /** Bytes of a row of packed activations. */
  packedBytes(weight: HeldWeight): number;
  scratchBytes(weight: HeldWeight, padded: number): number;
  pack(call: Call): void | Promise<void>;
  multiply(call: Call): void | Promise<void>;
}

/** Products with activations as they are, or quantized to 8 bits in blocks of 32 where the weight is quantized too. */
export function products(machine: ProductMachine, activations: 'int8' | 'float'): Product {
  const float = floatRoute(machine);
  const integer = integerRoute(machine);
  let route = float;
  let call: Call | undefined;

  const nextRows = (): void | Promise<void> => {
    const now = call as Call;
    if (now.first >= now.rows) return undefined;
    placeRows(route, now, machine.threads());
    copyIn(now);
    const pending = route.pack(now);
    return pending === undefined ? multiply() : pending.then(multiply);
  };
  const multiply = (): void | Promise<void> => {
    const pending = route.multiply(call as Call);
    return pending === undefined ? finish() : pending.then(finish);
  };
  const finish = (): void | Promise<void> => {
    const now = call as Call;
    copyOut(now);
    now.first += now.count;
    return nextRows();
  };

  return (weight, x, rows, out) => {
    route = weight.quantized !== undefined && activations === 'int8' ? integer : float;
    if (call === undefined) call = newCall(weight, x, out);
    call.weight = weight;
    call.x = x;
    call.rows = rows;
    call.out = out;
    call.first = 0;
    return nextRows();
  };
}

function newCall(weight: HeldWeight, x: Float32Array, out: Float32Array): Call {
  const addresses = { xAt: 0, packedAt: 0, outAt: 0, scratchAt: 0, scratchBytes: 0 };
  return { weight, x, rows: 0, out, first: 0, count: 0, padded: 0, ...addresses };
}

/** Chooses how many rows come next, and the places of all that they need. */
function placeRows(route: Route, call: Call, threads: number): void {
  const { weight, x, out, rows, first } = call;
  const { arena, depth, inFeatures, outFeatures } = weight;
  const xInPlace = depth === inFeatures && arena.owns(x);
  const outInPlace = arena.owns(out);
  const multiple = route.multiple(weight);
  const xBytes = xInPlace ? 0 : 4 * depth;
  const outBytes = outInPlace ? 0 : 4 * outFeatures;
  const packedBytes = route.packedBytes(weight);
  const fixed = threads * (route.scratchBytes(weight, 0) + ALIGNMENT) + 4 * ALIGNMENT;
  const rowBytes =
    xBytes + outBytes + packedBytes + threads * (route.scratchBytes(weight, 1) - route.scratchBytes(weight, 0));
  const room = (Math.min(SCRATCH_BYTES, arena.scratchBytes) - fixed) / rowBytes;
  const most = Math.max(1, Math.floor(Math.min(route.rows(weight), room) / multiple)) * multiple;
  call.count = Math.min(most, rows - first);
  // Rows among others always go through the same kernel, however many are left for the end.
  call.padded = rows === 1 ? 1 : Math.ceil(call.count / multiple) * multiple;
  call.scratchBytes = align(route.scratchBytes(weight, call.padded));
  const packedLength = align(call.padded * packedBytes);
  const xLength = align(call.count * xBytes);
  const outLength = align(call.count * outBytes);
  call.packedAt = arena.scratch(packedLength + xLength + outLength + threads * call.scratchBytes);
  call.xAt = xInPlace ? x.byteOffset + 4 * first * depth : call.packedAt + packedLength;
  call.outAt = outInPlace ? out.byteOffset + 4 * first * outFeatures : call.packedAt + packedLength + xLength;
  call.scratchAt = call.packedAt + packedLength + xLength + outLength;
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** Rows of `x` with zeros after each, unless they are used where they lie. */
function copyIn({ weight, x, first, count, xAt }: Call): void {
  const { arena, inFeatures, depth } = weight;
  if (depth === inFeatures && arena.owns(x)) return;
  const { floats } = arena;
  const to = xAt / 4;
  if (depth === inFeatures) {
    floats.set(x.subarray(first * inFeatures, (first + count) * inFeatures), to);
    return;
  }
  for (let row = 0; row < count; row++) {
    const from = (first + row) * inFeatures;
    floats.set(x.subarray(from, from + inFeatures), to + row * depth);
    floats.fill(0, to + row * depth + inFeatures, to + (row + 1) * depth);
  }
}

function copyOut({ weight, out, first, count, outAt }: Call): void {
  const { arena, outFeatures } = weight;
  if (arena.owns(out)) return;
  out.set(arena.floats.subarray(outAt / 4, outAt / 4 + count * outFeatures), first * outFeatures);
}

function recordsBytes({ depth, quantized }: HeldWeight): number {
  return (depth / BLOCK) * (quantized as QuantizedPanels).recordBytes;
}

function floatRoute({ build, job, module }: ProductMachine): Route {
  const tile = tileRows(build);
  return {
    rows: () => FLOAT_ROWS,
    multiple: () => tile,
    packedBytes: ({ depth }) => 4 * depth,
    scratchBytes: (_, padded) => GROUP_PANELS * PANEL * 4 * padded + COLUMNS_BYTES + PANEL * 4,
    pack({ weight, rows, count, padded, xAt, packedAt }) {
      if (rows === 1) return undefined;
      const { arena, depth } = weight;
      const tiles = padded / tile;
      job.start(arena, module, 'packTiles');
      job.value(xAt);
      job.value(count);
      job.stepped(0, 1);
      job.count();
      job.value(tiles);
      job.value(depth);
      job.value(packedAt);
      return job.run(tiles, tile * depth * COST.packedValue);
    },
    multiply({ weight, rows, count, padded, xAt, packedAt, outAt, scratchAt, scratchBytes }) {
      const { arena, panels, panelBytes, depth, bias, outFeatures, quantized } = weight;
      const one = rows === 1;
      if (quantized === undefined) job.start(arena, module, one ? 'floatGemv' : 'floatGemm');
      else job.start(arena, module, one ? 'quantizedFloatGemv' : 'quantizedFloatGemm');
      job.stepped(weight.weight, panelBytes);
      job.value(one ? xAt : packedAt);
      job.stepped(outAt, PANEL * 4);
      if (!one) job.value(count);
      job.count();
      job.value(depth);
      job.stepped(bias, PANEL * 4);
      job.stepped(outFeatures, -PANEL);
      if (!one) job.value(outFeatures);
      job.perThread(scratchAt, scratchBytes);
      if (quantized !== undefined) {
        job.value(quantized.groups);
        job.value(Number(quantized.offsets));
        job.value(quantized.bits);
        job.value(quantized.center);
        job.value(quantized.tables + TABLE);
      }
      return job.run(panels, panelBytes * COST.weightByte + padded * depth * PANEL * COST.floatProduct);
    },
  };
}

function integerRoute(machine: ProductMachine): Route {
  const { job, module } = machine;
  return {
    rows: (weight) => RECORDS_BYTES / recordsBytes(weight),
    multiple: ({ quantized }) => (quantized as QuantizedPanels).rows,
    packedBytes: recordsBytes,
    scratchBytes: (_, padded) => PANEL * 4 * padded + EXPANDED_BYTES,
    pack({ weight, count, padded, xAt, packedAt }) {
      const { arena, depth } = weight;
      const { quantize, center, recordBytes } = weight.quantized as QuantizedPanels;
      job.start(arena, module, quantize);
      job.stepped(xAt, 4 * depth);
      job.count();
      job.value(padded);
      job.value(depth / BLOCK);
      job.value(center);
      job.stepped(packedAt, recordBytes);
      return job.run(count, depth * COST.packedValue);
    },
    multiply: (call) => (call.rows === 1 ? integerRow(machine, call) : integerRows(machine, call)),
  };
}

function integerRow({ job, module }: ProductMachine, { weight, packedAt, outAt }: Call): void | Promise<void> {
  const { arena, panels, panelBytes, depth, bias, outFeatures } = weight;
  const { gemv, tables, readAhead } = weight.quantized as QuantizedPanels;
  job.start(arena, module, gemv);
  job.stepped(weight.weight, panelBytes);
  job.value(packedAt);
  job.stepped(outAt, PANEL * 4);
  job.count();
  job.value(depth / BLOCK);
  job.stepped(bias, PANEL * 4);
  job.stepped(outFeatures, -PANEL);
  job.value(readsAhead(readAhead) ? panelBytes : 0);
  job.value(tables);
  const start = isTrying(readAhead) ? performance.now() : 0;
  const pending = job.run(panels, panelBytes * COST.weightByte);
  if (pending === undefined && isTrying(readAhead)) recordTrial(readAhead, performance.now() - start);
  return pending;
}

function integerRows({ job, module }: ProductMachine, call: Call): void | Promise<void> {
  const { weight, count, padded, packedAt, outAt, scratchAt, scratchBytes } = call;
  const { arena, panels, panelBytes, depth, bias, outFeatures } = weight;
  const { gemm, tables } = weight.quantized as QuantizedPanels;
  job.start(arena, module, gemm);
  job.stepped(weight.weight, panelBytes);
  job.value(packedAt);
  job.stepped(outAt, PANEL * 4);
  job.value(count);
  job.value(padded);
  job.count();
  job.value(depth / BLOCK);
  job.stepped(bias, PANEL * 4);
  job.stepped(outFeatures, -PANEL);
  job.value(outFeatures);
  job.perThread(scratchAt, scratchBytes);
  job.value(tables);
  return job.run(panels, panelBytes * COST.weightByte + padded * depth * PANEL * COST.integerProduct);
}
