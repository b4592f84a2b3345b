import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { namePattern, PATTERN_BUDGET } from '../../src/layouts/internal/name-pattern.js';
import { expectFailure } from '../support/files.js';

const matches = (pattern: string, name: string) => namePattern(pattern, { left: PATTERN_BUDGET }, 'test')(name);

const symbols = 'a b . \\. \\d \\w+ [ab] [^a]* [a-c0-9]? a{2} b{1,3} .*? ^ $ .*'.split(' ');
const groups = ['(#)', '(?:#)?', '(#)*', '(?:#){1,2}', '(?=#)', '(?!#)'];

/** Alternatives of sequences of symbols and groups. Deeper nests make RegExp, which is asked too, backtrack for ever. */
const alternatives = (depth: number): fc.Arbitrary<string> => {
  const symbol = fc.constantFrom(...symbols);
  const group = fc
    .tuple(fc.constantFrom(...groups), depth > 0 ? alternatives(depth - 1) : symbol)
    .map(([shape, inner]) => shape.replace('#', () => inner));
  const sequence = fc.array(fc.oneof(symbol, group), { maxLength: 3 }).map((pieces) => pieces.join(''));
  return fc.array(sequence, { minLength: 1, maxLength: 2 }).map((options) => options.join('|'));
};

describe('namePattern', () => {
  it('agrees with RegExp anchored at the start', () => {
    fc.assert(
      fc.property(
        alternatives(2),
        fc.string({ unit: fc.constantFrom('a', 'b', 'c', '.', '1', '_'), maxLength: 5 }),
        (source, name) => {
          expect(matches(source, name)).toBe(new RegExp(`^(?:${source})`, 's').test(name));
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('matches the targets that configurations have', () => {
    expect(matches('.*self_attn\\.(q|k|v|o)_proj$', 'model.layers.3.self_attn.k_proj')).toBe(true);
    expect(matches('.*self_attn\\.(q|k|v|o)_proj$', 'model.layers.3.self_attn.k_proj.x')).toBe(false);
    expect(matches('layers', 'model.layers.3')).toBe(false);
    expect(matches('model.layers.(5[6-9]|6[0-3])', 'model.layers.61.mlp')).toBe(true);
    expect(matches('(?!.*lm_head).*', 'lm_head')).toBe(false);
    expect(matches('(?P<layer>\\d{1,3})x', '12x')).toBe(true);
  });

  it('does not hang on patterns that backtracking takes for ever with', async () => {
    const name = 'a'.repeat(2000);
    expect(matches('(a+)+$', `${name}b`)).toBe(false);
    expect(matches('(a|aa)+$', `${name}b`)).toBe(false);
    await expectFailure(() => matches('(?:(?:(?:(?:a*)*b?)*)*c?)*(?=(?:(a*)*)*x)', name), 'UNSUPPORTED', 'too long');
    expect(matches('((((a{1000}){1000}){1000}){1000}){1000}b', name)).toBe(false);
  });

  it('refuses what it does not know', async () => {
    for (const source of [
      '(?<=a)b',
      '(a)\\1',
      '(?i)a',
      '(a',
      'a)',
      '[a',
      '*a',
      'a**',
      'a{2000}',
      'a\\',
      '\\b',
      '(?P=x)',
    ]) {
      await expectFailure(() => matches(source, 'aaa'), 'UNSUPPORTED', 'pattern');
    }
    await expectFailure(() => matches('('.repeat(100), 'a'), 'UNSUPPORTED', 'nested');
    await expectFailure(() => matches('a'.repeat(5000), 'a'), 'UNSUPPORTED', '4096');
  });
});
