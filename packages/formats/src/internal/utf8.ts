/** Invalid bytes become U+FFFD, and then `raw` is a copy of the bytes. */
export interface DecodedText {
  readonly text: string;
  readonly raw?: Uint8Array;
}

/** Whether UTF-8 can hold a text: `TextEncoder` would silently replace halves of surrogate pairs. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** Up to this length a loop over ASCII beats TextDecoder. */
const SHORT = 24;

/** Makes a decoder for many strings. */
export function utf8Decoder(): (bytes: Uint8Array) => DecodedText {
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const lenient = new TextDecoder('utf-8', { ignoreBOM: true });
  return (bytes) => {
    if (bytes.length <= SHORT) {
      let text = '';
      let i = 0;
      for (; i < bytes.length; i++) {
        const byte = bytes[i] as number;
        if (byte >= 0x80) break;
        text += String.fromCharCode(byte);
      }
      if (i === bytes.length) return { text };
    }
    try {
      return { text: strict.decode(bytes) };
    } catch {
      return { text: lenient.decode(bytes), raw: bytes.slice() };
    }
  };
}
