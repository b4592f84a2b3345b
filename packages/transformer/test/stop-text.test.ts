import fc from 'fast-check';
import { expect, it } from 'vitest';
import { stopText } from '../src/stop-text.js';

it('shows exactly the text before the first stop text, however the text is cut', () => {
  const stops = ['ab', 'bba', 'c'];
  fc.assert(
    fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'd', 'c'), maxLength: 4 })), (pieces) => {
      const whole = pieces.join('');
      const places = stops.map((stop) => whole.indexOf(stop)).filter((place) => place >= 0);
      const stopper = stopText(stops);
      let shown = '';
      let stopped = false;
      for (const piece of pieces) {
        const result = stopper.push(piece);
        shown += result.text;
        stopped = result.stopped;
        if (stopped) break;
      }
      if (!stopped) shown += stopper.end();
      expect(stopped).toBe(places.length > 0);
      // The first stop text to be complete ends the text, which may not be the one that began first.
      if (!stopped) expect(shown).toBe(whole);
      else expect(whole.startsWith(shown) && stops.some((stop) => whole.startsWith(shown + stop))).toBe(true);
    }),
  );
});

it('holds back only what may become a stop text', () => {
  const stopper = stopText(['###']);
  expect(stopper.push('one #').text).toBe('one ');
  expect(stopper.push('two').text).toBe('#two');
  expect(stopper.push('##').text).toBe('');
  expect(stopper.end()).toBe('##');
});
