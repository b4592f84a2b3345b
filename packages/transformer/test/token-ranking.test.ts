import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tokenRanking } from '../src/internal/token-ranking.js';

describe('tokenRanking', () => {
  it('is a sort by falling logit and rising id, in any order of asking and for any logits in a row', () => {
    const logit = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.double({ noNaN: true }));
    const list = fc.array(logit, { minLength: 1, maxLength: 50 });
    const ranking = tokenRanking();
    fc.assert(
      fc.property(list, fc.array(fc.nat(49), { maxLength: 10 }), (logits, ranks) => {
        const expected = [...logits.keys()].sort((a, b) =>
          logits[a] === logits[b] ? a - b : logits[b] > logits[a] ? 1 : -1,
        );
        ranking.start(logits);
        for (const rank of ranks) if (rank < logits.length) expect(ranking.token(rank)).toBe(expected[rank]);
        ranking.start(logits);
        expect(logits.map((_, rank) => ranking.token(rank))).toEqual(expected);
      }),
    );
  });
});
