import type { Random } from './random.js';

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

const VALUES: readonly Json[] = [
  null,
  true,
  false,
  0,
  -1,
  0.5,
  1e308,
  4294967295,
  4294967296,
  9007199254740991,
  9007199254740992,
  '',
  '__proto__',
  'constructor',
  '../../etc/passwd',
  'Ü\u{1f600}',
  '\ud800',
  [],
  {},
  [[]],
  [null],
  { toString: 1, length: -1 },
];
const KEYS = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', 'length', 'valueOf'];

/**
 * A copy of a JSON text with one to three values, keys or members changed; the text stays JSON but for a few duplicate keys,
 * very deep values and absurd numbers, which readers must notice by themselves.
 */
export function mutateJson(text: string, random: Random): string {
  const root = { root: JSON.parse(text) as Json };
  for (let edits = 1 + random.below(3); edits > 0; edits--) editOne(root, random);
  // JSON.parse makes `__proto__` a member of its own, and so does this.
  const result = JSON.stringify(root.root) ?? 'null';
  switch (random.below(24)) {
    case 0:
      return duplicateMember(result, random);
    case 1:
      return result.replace(/\d+/, random.pick(['1e400', '-0', '1e-400', '123456789012345678901234567890']));
    case 2:
      return result.replace(/\d+|"[^"]*"/, '['.repeat(5000) + ']'.repeat(5000));
    default:
      return result;
  }
}

/** Walks to a random place and changes what is there. */
function editOne(root: { root: Json }, random: Random): void {
  let holder: Json[] | { [key: string]: Json } = root;
  let key: string | number = 'root';
  for (;;) {
    const value: Json = (holder as Record<string, Json>)[key] as Json;
    const keys: (string | number)[] = Array.isArray(value)
      ? [...value.keys()]
      : isObject(value)
        ? Object.keys(value)
        : [];
    if (keys.length === 0 || (holder !== root && random.next() < 0.2)) break;
    holder = value as typeof holder;
    key = random.pick(keys);
  }
  change(holder, key, random);
}

function change(holder: Json[] | { [key: string]: Json }, key: string | number, random: Random): void {
  const record = holder as Record<string, Json>;
  const value = record[key] as Json;
  switch (random.below(6)) {
    case 0:
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete record[key];
      return;
    case 1:
      if (!Array.isArray(holder)) define(record, random.pick(KEYS), value);
      return;
    case 2:
      if (typeof value === 'number')
        record[key] = random.pick([-value, value + 1, value - 1, value * 2 ** 32, value / 2]);
      else if (typeof value === 'string') record[key] = value + random.pick(['', ' ', '\u0000', 'x', value]);
      return;
    case 3:
      if (Array.isArray(holder)) holder.push(structuredClone(value));
      return;
    default:
      define(record, key, structuredClone(random.pick(VALUES)));
  }
}

/** Sets a member of its own, `__proto__` too. */
function define(record: Record<string, Json>, key: string | number, value: Json): void {
  Object.defineProperty(record, key, { value, enumerable: true, configurable: true, writable: true });
}

function duplicateMember(text: string, random: Random): string {
  const members = [...text.matchAll(/"[^"\\]*":(?:\d+|"[^"\\]*")/g)];
  if (members.length === 0) return text;
  const member = random.pick(members);
  return `${text.slice(0, member.index)}${member[0]},${text.slice(member.index)}`;
}

function isObject(value: Json): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
