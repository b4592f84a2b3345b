/** Decodes UTF-8. Invalid bytes become U+FFFD, and then `raw` is a copy of the bytes. */
export function decodeUtf8(bytes: Uint8Array): { text: string; raw?: Uint8Array } {
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
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { text: new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes), raw: bytes.slice() };
  }
}

/** Up to this length a loop over ASCII beats TextDecoder. */
const SHORT = 24;
