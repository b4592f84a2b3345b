import { describe, expect, it } from 'vitest';
import { turns } from '../../src/internal/in-turn.js';

/** An operation that ends when it is told to. */
function slow(log: string[]) {
  const ends: (() => void)[] = [];
  const operation = (name: string): Promise<void> => {
    log.push(`${name} starts`);
    return new Promise((resolve) => {
      ends.push(() => {
        log.push(`${name} ends`);
        resolve();
      });
    });
  };
  return { operation, end: () => ends.shift()?.() };
}

const settled = () => new Promise((resolve) => setTimeout(resolve));

describe('turns', () => {
  it('lets operations wait for each other, in order', async () => {
    const inTurn = turns();
    const log: string[] = [];
    const { operation, end } = slow(log);
    const first = inTurn(operation);
    const second = inTurn((name: string) => void log.push(`${name} at once`));
    const pending = [first('a'), second('b'), first('c')];
    await settled();
    expect(log).toEqual(['a starts']);
    end();
    await settled();
    expect(log).toEqual(['a starts', 'a ends', 'b at once', 'c starts']);
    end();
    await Promise.all(pending);
    expect(second('d')).toBeUndefined();
    expect(log.slice(4)).toEqual(['c ends', 'd at once']);
  });

  it('goes on after a failure, which only its caller sees', async () => {
    const inTurn = turns();
    const failing = inTurn(() => Promise.reject(new Error('no')));
    const right = inTurn(() => undefined);
    const first = failing();
    const second = right();
    await expect(first).rejects.toThrow('no');
    await expect(second).resolves.toBeUndefined();
    expect(() =>
      inTurn((): void => {
        throw new Error('at once');
      })(),
    ).toThrow('at once');
    expect(right()).toBeUndefined();
  });
});
