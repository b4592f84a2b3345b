import { HalftoneError } from '@halftone/tensor';

/** JSON with objects as maps, so that `__proto__` is a name like any other. */
export type JsonValue = string | number | boolean | null | JsonValue[] | Map<string, JsonValue>;

const MAX_DEPTH = 32;

/**
 * Parses JSON strictly and rejects duplicate keys, which `JSON.parse` would silently drop.
 * Throws `FORMAT` with the character position.
 */
export function parseJson(text: string, where: string, what: string): JsonValue {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids control characters in strings
  const needsDecoding = /[\\\u0000-\u001f]/;
  const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
  let position = 0;

  function fail(problem: string): never {
    throw new HalftoneError('FORMAT', `${what}: ${problem} at character ${position}`, { where, details: { position } });
  }

  function skipSpace(): void {
    for (;;) {
      const c = text.charCodeAt(position);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      position++;
    }
  }

  function expect(character: string): void {
    if (text[position] !== character) fail(`expected '${character}'`);
    position++;
  }

  function literal<T>(word: string, value: T): T {
    if (!text.startsWith(word, position)) fail('unexpected character');
    position += word.length;
    return value;
  }

  function string(): string {
    if (text[position] !== '"') fail('expected a string');
    let end = text.indexOf('"', position + 1);
    while (end >= 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
    if (end < 0) fail('unterminated string');
    const plain = text.slice(position + 1, end);
    if (!needsDecoding.test(plain)) {
      position = end + 1;
      return plain;
    }
    try {
      const value = JSON.parse(text.slice(position, end + 1)) as string;
      position = end + 1;
      return value;
    } catch {
      return fail('malformed string');
    }
  }

  function number(): number {
    // Offsets and dimensions: short runs of digits without a leading zero.
    let end = position;
    let whole = 0;
    for (; end - position < 15; end++) {
      const digit = text.charCodeAt(end) - 0x30;
      if (!(digit >= 0 && digit <= 9)) break;
      whole = whole * 10 + digit;
    }
    const stop = text.charCodeAt(end);
    const isPlain = stop === 0x2c || stop === 0x5d || stop === 0x7d;
    if (isPlain && end > position && (end === position + 1 || text[position] !== '0')) {
      position = end;
      return whole;
    }
    numberPattern.lastIndex = position;
    const raw = numberPattern.exec(text)?.[0];
    if (raw === undefined) fail('unexpected character');
    position += raw.length;
    return Number(raw);
  }

  function array(depth: number): JsonValue[] {
    const items: JsonValue[] = [];
    position++;
    skipSpace();
    if (text[position] === ']') {
      position++;
      return items;
    }
    for (;;) {
      items.push(value(depth));
      skipSpace();
      if (text[position] === ',') {
        position++;
        continue;
      }
      expect(']');
      return items;
    }
  }

  function object(depth: number): Map<string, JsonValue> {
    const members = new Map<string, JsonValue>();
    position++;
    skipSpace();
    if (text[position] === '}') {
      position++;
      return members;
    }
    for (;;) {
      skipSpace();
      const key = string();
      if (members.has(key)) fail(`duplicate key ${JSON.stringify(key)}`);
      skipSpace();
      expect(':');
      members.set(key, value(depth));
      skipSpace();
      if (text[position] === ',') {
        position++;
        continue;
      }
      expect('}');
      return members;
    }
  }

  function value(depth: number): JsonValue {
    if (depth > MAX_DEPTH) fail(`nesting deeper than ${MAX_DEPTH}`);
    skipSpace();
    switch (text[position]) {
      case '{':
        return object(depth + 1);
      case '[':
        return array(depth + 1);
      case '"':
        return string();
      case 't':
        return literal('true', true);
      case 'f':
        return literal('false', false);
      case 'n':
        return literal('null', null);
      default:
        return number();
    }
  }

  const result = value(0);
  skipSpace();
  if (position !== text.length) fail('unexpected text after the value');
  return result;
}

/** Whether the character at `index` follows an odd number of backslashes. */
function isEscaped(text: string, index: number): boolean {
  let start = index;
  while (text.charCodeAt(start - 1) === 0x5c) start--;
  return (index - start) % 2 === 1;
}
