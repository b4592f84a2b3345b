import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type JsonValue, parseJson } from '../src/internal/json.js';
import { expectFailure } from './support/files.js';

function plain(value: JsonValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

const parse = (text: string) => parseJson(text, 'test', 'text');

describe('parseJson', () => {
  it('agrees with JSON.parse on every JSON text', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 1, '\t'), (value, space) => {
        const text = JSON.stringify(value, null, space);
        expect(plain(parse(text))).toEqual(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  it('accepts exactly the texts that JSON.parse accepts', async () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"\\',
      '"',
      '\\u12',
      '1',
      '-',
      '01',
      '.5',
      'e9',
      'true',
      'nul',
      ' ',
      '\n',
      '\u0001',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(pieces, { maxLength: 8 }), async (parts) => {
        const text = parts.join('');
        let expected: unknown;
        try {
          expected = JSON.parse(text);
        } catch {
          await expectFailure(() => parse(text), 'FORMAT');
          return;
        }
        expect(plain(parse(text))).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses duplicate keys, also escaped ones and nested ones', async () => {
    await expectFailure(() => parse('{"a":1,"a":2}'), 'FORMAT', 'duplicate key "a"');
    await expectFailure(() => parse('{"a":1,"\\u0061":2}'), 'FORMAT', 'duplicate key');
    await expectFailure(() => parse('{"x":{"__proto__":1,"__proto__":2}}'), 'FORMAT', 'duplicate key');
  });

  it('takes __proto__ as a plain name', () => {
    const map = parse('{"__proto__":{"polluted":1}}') as Map<string, JsonValue>;
    expect(map.get('__proto__')).toBeInstanceOf(Map);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  it('refuses deep nesting and very long damaged strings without exhausting the stack', async () => {
    await expectFailure(() => parse('['.repeat(1_000_000)), 'FORMAT', 'nesting');
    await expectFailure(() => parse(`"${'\\"'.repeat(3_000_000)}`), 'FORMAT', 'string');
  });
});
