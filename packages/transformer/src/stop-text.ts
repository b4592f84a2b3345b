/** What may be shown after a piece of text came in. */
export interface StopTextResult {
  readonly text: string;
  /** A stop text has come; `text` ends before it, and nothing more is to be pushed. */
  readonly stopped: boolean;
}

export interface StopText {
  push(piece: string): StopTextResult;
  /** The text that was held back. */
  end(): string;
}

/** Looks for stop texts in text that comes in pieces, holding back an end that may be the beginning of one. */
export function stopText(stops: readonly string[]): StopText {
  let held = '';
  return {
    push(piece) {
      if (stops.length === 0) return { text: piece, stopped: false };
      held += piece;
      const places = stops.map((stop) => held.indexOf(stop)).filter((place) => place >= 0);
      if (places.length > 0) {
        const text = held.slice(0, Math.min(...places));
        held = '';
        return { text, stopped: true };
      }
      const keep = Math.max(0, ...stops.map((stop) => overlap(held, stop)));
      const text = held.slice(0, held.length - keep);
      held = held.slice(held.length - keep);
      return { text, stopped: false };
    },
    end() {
      const text = held;
      held = '';
      return text;
    },
  };
}

/** Length of the longest end of `text` that `stop` begins with. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
