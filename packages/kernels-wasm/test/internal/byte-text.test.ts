import { expect, it } from 'vitest';
import { bytesToText, textToBytes } from '../../src/internal/byte-text.js';

it('keeps every byte, after every other', () => {
  const bytes = Uint8Array.from({ length: 2 ** 17 }, (_, i) => (i & 1 ? i >> 1 : i >> 9));
  expect(textToBytes(bytesToText(bytes))).toEqual(bytes);
  expect(textToBytes(bytesToText(new Uint8Array(0)))).toEqual(new Uint8Array(0));
});

it('needs no escapes in string literals', () => {
  const text = bytesToText(Uint8Array.from({ length: 256 }, (_, i) => i));
  expect(JSON.stringify(text)).toBe(`"${text}"`);
  expect(text).not.toMatch(/['`$<\\]|[^ -~]/);
});
