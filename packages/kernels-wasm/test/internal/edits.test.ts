import { expect, it } from 'vitest';
import { compileSource } from '../../kernels/compile.js';
import { findEdits } from '../../kernels/edits.js';
import { MODULE_SOURCES } from '../../kernels/modules.js';
import { moduleBytes } from '../../src/internal/compiled-module.js';
import { withEdits } from '../../src/internal/edits.js';
import { ATTENTION } from '../../src/internal/modules/attention.js';

it.each([
  ['nothing into nothing', 0, 0, 0],
  ['nothing into something', 0, 300, 0],
  ['something into nothing', 300, 0, 0],
  ['no change', 300, 300, 0],
  ['a part', 5000, 700, 0],
  ['long numbers', 70000, 69000, 40],
  ['what has nothing in common', 40, 40, 40],
])('edits make any bytes of any others: %s', (_, baseLength, length, changes) => {
  const base = randomBytes(baseLength);
  const target = randomBytes(length).map((byte, i) => base[i + baseLength - length] ?? byte);
  for (const at of randomBytes(changes)) if (at < length) target[at] ^= 0x55;
  expect(withEdits(base, findEdits(base, target))).toEqual(joined(base, target));
});

it('copies back and forth', () => {
  const base = randomBytes(600);
  const target = Uint8Array.of(...base.subarray(300), ...base.subarray(100, 200), 1, 2, 3, ...base);
  const edits = findEdits(base, target);
  expect(withEdits(base, edits)).toEqual(joined(base, target));
  expect(edits.length).toBeLessThan(40);
});

it.each(['simd', 'relaxed'] as const)(
  'makes the %s build of a module that its source compiles to',
  async (build) => {
    const expected = await compileSource(MODULE_SOURCES.attention.source(build), build);
    expect(moduleBytes(ATTENTION, build, true)).toEqual(new Uint8Array(expected));
  },
  60_000,
);

function joined(base: Uint8Array, target: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(base.length + target.length);
  both.set(base);
  both.set(target, base.length);
  return both;
}

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}
