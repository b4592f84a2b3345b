/** Characters that stand for themselves in string literals of every kind, and in scripts within HTML. */
const ALPHABET = ' !#%&()*+,-./0123456789:;=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~';
/** So many stand for a byte; those after them say that the next one counts as many further on, once or twice. */
const SINGLE = ALPHABET.length - 2;
/** The most frequent bytes of WebAssembly are from -3 on. */
const FIRST = -3;

/**
 * A character for each frequent byte and two for others. Compressed, such text is a tenth shorter than hexadecimal digits and far
 * shorter than base64, which hides from compressors what repeats.
 */
export function bytesToText(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    const place = (byte - FIRST) & 255;
    if (place >= SINGLE) text += ALPHABET[SINGLE - 1 + Math.floor(place / SINGLE)];
    text += ALPHABET[place % SINGLE];
  }
  return text;
}

export function textToBytes(text: string): Uint8Array<ArrayBuffer> {
  const places = new Uint8Array(128);
  for (let place = 0; place < ALPHABET.length; place++) places[ALPHABET.charCodeAt(place)] = place;
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    let place = places[text.charCodeAt(i)];
    if (place >= SINGLE) place = (place - SINGLE + 1) * SINGLE + places[text.charCodeAt(++i)];
    bytes[length++] = place + FIRST;
  }
  return bytes.subarray(0, length);
}
