/**
 * Regular expressions over names, as configuration files hold them. They are matched without backtracking and with a limit on
 * the work: a file cannot make the reader hang, as it could through `RegExp`.
 */
import { HalftoneError } from '@halftone/tensor';

/** Work that the patterns of one file may still take, in visited positions. */
export interface PatternBudget {
  left: number;
}

export const PATTERN_BUDGET = 10_000_000;

const MAX_LENGTH = 4096;
const MAX_DEPTH = 50;
const MAX_REPEAT = 1000;

/** Positions after a match, for any of the positions before it. */
interface Step {
  (text: string, starts: readonly number[]): readonly number[];
  /** Of a step that takes one character. */
  readonly accepts?: (code: number) => boolean;
}

/**
 * Whether a name starts with a match (Python's `re.match`). Knows alternatives, groups, repeats, classes, `^`, `$`,
 * `\d`, `\w`, `\s` and lookahead. Throws `UNSUPPORTED` for other syntax (lookbehind, back references, flags) and for too much work.
 */
export function namePattern(pattern: string, budget: PatternBudget, where: string): (name: string) => boolean {
  const fail = (problem: string): never => {
    throw new HalftoneError('UNSUPPORTED', `pattern ${JSON.stringify(pattern.slice(0, 200))}: ${problem}`, { where });
  };
  if (pattern.length > MAX_LENGTH) fail(`${pattern.length} characters, at most ${MAX_LENGTH} are read`);
  let position = 0;

  const spend = (positions: number): void => {
    budget.left -= positions + 1;
    if (budget.left < 0) fail('matching takes too long; write simpler patterns');
  };

  function character(accepts: (code: number) => boolean): Step {
    const step = (text: string, starts: readonly number[]): readonly number[] => {
      spend(starts.length);
      const ends: number[] = [];
      for (const start of starts) if (start < text.length && accepts(text.charCodeAt(start))) ends.push(start + 1);
      return ends;
    };
    return Object.assign(step, { accepts });
  }

  function place(of: (text: string) => number): Step {
    return (text, starts) => {
      spend(starts.length);
      return starts.includes(of(text)) ? [of(text)] : [];
    };
  }

  function alternatives(depth: number): Step {
    if (depth > MAX_DEPTH) fail(`groups nested deeper than ${MAX_DEPTH}`);
    const options = [sequence(depth)];
    while (pattern[position] === '|') {
      position++;
      options.push(sequence(depth));
    }
    const [only] = options;
    if (options.length === 1 && only !== undefined) return only;
    return (text, starts) => [...new Set(options.flatMap((option) => option(text, starts)))];
  }

  function sequence(depth: number): Step {
    const steps: Step[] = [];
    while (position < pattern.length && pattern[position] !== '|' && pattern[position] !== ')') {
      steps.push(repeated(atom(depth)));
    }
    return (text, starts) => {
      let ends = starts;
      for (const step of steps) {
        if (ends.length === 0) break;
        ends = step(text, ends);
      }
      return ends;
    };
  }

  function atom(depth: number): Step {
    const symbol = pattern[position++] as string;
    switch (symbol) {
      case '.':
        return character((code) => code !== 0x0a);
      case '^':
        return place(() => 0);
      case '$':
        return place((text) => text.length);
      case '[':
        return character(characterClass());
      case '(':
        return group(depth);
      case '\\':
        return character(escaped());
      case '*':
      case '+':
      case '?':
      case '{':
        return fail(`nothing to repeat before ${symbol}`);
      default: {
        const code = symbol.charCodeAt(0);
        return character((candidate) => candidate === code);
      }
    }
  }

  function group(depth: number): Step {
    const opening = /\?(?:[:=!]|P<\w+>)/y;
    opening.lastIndex = position;
    const kind = opening.exec(pattern)?.[0] ?? '';
    if (kind === '' && pattern[position] === '?') fail('groups of this kind are not known');
    position += kind.length;
    const inner = alternatives(depth + 1);
    if (pattern[position++] !== ')') fail('a group is not closed');
    if (kind !== '?=' && kind !== '?!') return inner;
    const wanted = kind === '?=';
    return (text, starts) => starts.filter((start) => inner(text, [start]).length > 0 === wanted);
  }

  /** The characters that an escape stands for; `position` is behind the backslash. */
  function escaped(): (code: number) => boolean {
    const symbol = pattern[position++];
    if (symbol === undefined) return fail('it ends in a backslash');
    const known: Record<string, RegExp> = { d: /\d/, D: /\D/, w: /\w/, W: /\W/, s: /\s/, S: /\S/ };
    const named = Object.hasOwn(known, symbol) ? known[symbol] : undefined;
    if (named !== undefined) return (code) => named.test(String.fromCharCode(code));
    if (/[A-Za-z0-9]/.test(symbol)) fail(`\\${symbol} is not known`);
    const literal = symbol.charCodeAt(0);
    return (code) => code === literal;
  }

  function characterClass(): (code: number) => boolean {
    const negative = pattern[position] === '^';
    if (negative) position++;
    const tests: ((code: number) => boolean)[] = [];
    while (pattern[position] !== ']' || tests.length === 0) {
      if (position >= pattern.length) fail('a class is not closed');
      const symbol = pattern[position++] as string;
      if (symbol === '\\') {
        tests.push(escaped());
        continue;
      }
      const low = symbol.charCodeAt(0);
      const isRange = pattern[position] === '-' && pattern[position + 1] !== ']' && pattern[position + 1] !== undefined;
      const high = isRange ? pattern.charCodeAt(position + 1) : low;
      if (isRange) position += 2;
      tests.push((code) => code >= low && code <= high);
    }
    position++;
    return (code) => tests.some((test) => test(code)) !== negative;
  }

  function repeated(step: Step): Step {
    const counts = /[*+?]|\{(\d*)(,?)(\d*)\}/y;
    counts.lastIndex = position;
    const found = counts.exec(pattern);
    if (found === null) return step;
    position += found[0].length;
    // Lazy or greedy makes no difference to whether there is a match.
    if (pattern[position] === '?') position++;
    if (/^[*+{]/.test(pattern.slice(position))) fail('a repeat is repeated');
    const [symbol, first, comma, last] = found;
    const [least, most] =
      symbol === '*'
        ? [0, Infinity]
        : symbol === '+'
          ? [1, Infinity]
          : symbol === '?'
            ? [0, 1]
            : [Number(first), last ? Number(last) : comma ? Infinity : Number(first)];
    if (least > MAX_REPEAT || (most !== Infinity && most > MAX_REPEAT)) fail(`more than ${MAX_REPEAT} repeats`);
    const { accepts } = step;
    if (accepts !== undefined && least === 0 && most === Infinity) return (text, starts) => run(accepts, text, starts);
    return (text, starts) => repeat(step, least, most, text, starts);
  }

  /** `repeat` of one character without end, which is what most patterns are made of. */
  function run(accepts: (code: number) => boolean, text: string, starts: readonly number[]): readonly number[] {
    const ends: number[] = [];
    let covered = -1;
    for (const start of [...starts].sort((a, b) => a - b)) {
      if (start <= covered) continue;
      ends.push(start);
      for (covered = start; covered < text.length && accepts(text.charCodeAt(covered)); ) ends.push(++covered);
    }
    spend(starts.length + ends.length);
    return ends;
  }

  function repeat(step: Step, least: number, most: number, text: string, starts: readonly number[]): readonly number[] {
    let frontier = starts;
    for (let i = 0; i < least && frontier.length > 0; i++) frontier = step(text, frontier);
    const reached = new Set(frontier);
    for (let i = least; i < most && frontier.length > 0; i++) {
      spend(frontier.length);
      frontier = step(text, frontier).filter((end) => !reached.has(end));
      for (const end of frontier) reached.add(end);
    }
    return [...reached];
  }

  const whole = alternatives(0);
  if (position < pattern.length) fail('a group is closed that was not opened');
  return (name) => whole(name, [0]).length > 0;
}
