import { mutateJson } from './mutate-json.js';
import type { Random } from './random.js';

/** Edits a JSON text. */
export function mutateText(seed: Uint8Array, random: Random): Uint8Array {
  return new TextEncoder().encode(mutateJson(new TextDecoder().decode(seed), random));
}

/** Edits the JSON header and makes its length fit again. */
export function mutateSafetensors(seed: Uint8Array, random: Random): Uint8Array {
  const view = new DataView(seed.buffer, seed.byteOffset, seed.byteLength);
  const end = 8 + Number(view.getBigUint64(0, true));
  const header = mutateText(seed.subarray(8, end), random);
  const file = new Uint8Array(8 + header.length + seed.length - end);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  file.set(seed.subarray(end), 8 + header.length);
  return file;
}
