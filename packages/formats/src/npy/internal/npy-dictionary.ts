/** The dictionary of an npy header: a Python literal of a fixed form. Nothing of it is evaluated. */
import { HalftoneError } from '@halftone/tensor';

export interface NpyDictionary {
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

type Literal = string | boolean | number[];

const TOKEN = /\s*(?:([{}(),:[])|'([^'\\\n]*)'|"([^"\\\n]*)"|(True|False)|(\d+)L?)/y;

/**
 * Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }` with its members in any order.
 * Throws `FORMAT` with the position; `UNSUPPORTED` for structured element types.
 */
export function parseNpyDictionary(text: string, name: string): NpyDictionary {
  let position = 0;
  const members = new Map<string, Literal>();

  function fail(code: 'FORMAT' | 'UNSUPPORTED', problem: string): never {
    throw new HalftoneError(code, `${name}: header: ${problem}`, { where: 'npy', details: { name, position } });
  }

  /** The next token: a mark, or a literal in quotes, or a word, or digits. */
  function next(): { mark?: string; string?: string; word?: string; digits?: string } {
    TOKEN.lastIndex = position;
    const match = TOKEN.exec(text);
    if (match === null) return fail('FORMAT', `unexpected text at character ${position}`);
    position = TOKEN.lastIndex;
    const [, mark, single, double, word, digits] = match;
    const string = single ?? double;
    return {
      ...(mark && { mark }),
      ...(string !== undefined && { string }),
      ...(word && { word }),
      ...(digits && { digits }),
    };
  }

  function tuple(): number[] {
    const numbers: number[] = [];
    for (let separated = true; ; ) {
      const { mark, digits } = next();
      if (mark === ')') {
        // `(3)` is a number in Python, not a tuple.
        if (numbers.length === 1 && !separated) fail('FORMAT', 'the shape is not a tuple');
        return numbers;
      }
      if (mark === ',' && !separated) separated = true;
      else if (digits !== undefined && separated) {
        const number = Number(digits);
        if (!Number.isSafeInteger(number)) fail('FORMAT', `dimension ${digits} is too large`);
        numbers.push(number);
        separated = false;
      } else fail('FORMAT', `the shape is malformed at character ${position}`);
    }
  }

  function value(): Literal {
    const { mark, string, word } = next();
    if (string !== undefined) return string;
    if (word !== undefined) return word === 'True';
    if (mark === '(') return tuple();
    if (mark === '[') return fail('UNSUPPORTED', 'structured element types are not read; save each field as an array');
    return fail('FORMAT', `unexpected text at character ${position}`);
  }

  if (next().mark !== '{') fail('FORMAT', 'is not a dictionary');
  for (;;) {
    const key = next();
    if (key.mark === '}') break;
    if (key.string === undefined) return fail('FORMAT', `expected a key at character ${position}`);
    if (members.has(key.string)) fail('FORMAT', `duplicate key ${JSON.stringify(key.string)}`);
    if (next().mark !== ':') fail('FORMAT', `expected ':' at character ${position}`);
    members.set(key.string, value());
    const { mark } = next();
    if (mark === '}') break;
    if (mark !== ',') fail('FORMAT', `expected ',' at character ${position}`);
  }
  if (text.slice(position).trim() !== '') fail('FORMAT', `unexpected text at character ${position}`);
  const descr = members.get('descr');
  const fortranOrder = members.get('fortran_order');
  const shape = members.get('shape');
  if (members.size !== 3 || typeof descr !== 'string' || typeof fortranOrder !== 'boolean' || !Array.isArray(shape)) {
    return fail('FORMAT', 'needs exactly descr (a string), fortran_order (True or False) and shape (a tuple)');
  }
  return { descr, fortranOrder, shape };
}
