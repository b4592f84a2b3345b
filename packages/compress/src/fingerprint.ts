import type { OutputPlan } from './plan.js';
import type { Recipe } from './recipe.js';

/** Rows sampled of each tensor: enough to notice that the source was exchanged between two runs. */
const SAMPLED_ROWS = 1;

/**
 * SHA-256 over everything that settles an output's bytes: recipe, headers, tensor places, calibration tokens, and the first
 * row of every source tensor.
 */
export async function jobFingerprint(
  plan: OutputPlan,
  recipe: Recipe,
  sequences: readonly Int32Array[] = [],
): Promise<string> {
  const parts: Uint8Array[] = [
    new TextEncoder().encode(JSON.stringify([recipe.name, recipe.needs, plan.format, plan.files])),
  ];
  for (const { bytes } of plan.fixed) parts.push(bytes);
  for (const sequence of sequences) {
    parts.push(new Uint8Array(sequence.buffer, sequence.byteOffset, sequence.byteLength));
  }
  for (const { name, source, treatment, offset } of plan.tensors) {
    const quantizer = treatment.quantizer?.name ?? '';
    parts.push(
      new TextEncoder().encode(
        JSON.stringify([name, source.dtype, source.shape, treatment.storage, quantizer, offset]),
      ),
    );
    const sampled = Math.min(SAMPLED_ROWS, source.shape[0] ?? 1);
    parts.push((await source.read(source.shape.length < 2 ? undefined : { start: 0, end: sampled })).bytes);
  }
  const hashes = await Promise.all(parts.map((part) => digest(part)));
  return hex(await digest(concatenate(hashes)));
}

async function digest(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
