/** JSON that reads back as exactly the value that was written, or is refused. */
import { HalftoneError } from '@halftone/tensor';
import type { JsonValue } from '../../internal/json.js';

/** Objects and arrays within each other. The parser stops a little above, with room for what stands around a value. */
export const MAX_JSON_DEPTH = 24;

/**
 * The text of a JSON value, with the sign of zero. Members that are undefined count as absent.
 * Throws `UNSUPPORTED` with the path for what JSON cannot hold: NaN, infinities, functions, typed arrays, deep nesting.
 */
export function exactJsonText(value: unknown, path: string, where: string, depth = 0): string {
  const refuse = (reason: string): never => {
    throw new HalftoneError('UNSUPPORTED', `${path} ${reason}`, { where, details: { path } });
  };
  if (depth > MAX_JSON_DEPTH) refuse(`is nested deeper than ${MAX_JSON_DEPTH}`);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) refuse(`is ${value}, which JSON cannot hold; write it as a string`);
    return Object.is(value, -0) ? '-0' : String(value);
  }
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return JSON.stringify(value);
  if (Array.isArray(value)) {
    const items = Array.from(value, (item, i) => exactJsonText(item, `${path}[${i}]`, where, depth + 1));
    return `[${items.join(',')}]`;
  }
  if (typeof value !== 'object' || ![Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    return refuse(`is not JSON (${Object.prototype.toString.call(value)}); use plain objects, arrays and numbers`);
  }
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([key, member]) => `${JSON.stringify(key)}:${exactJsonText(member, `${path}.${key}`, where, depth + 1)}`);
  return `{${members.join(',')}}`;
}

/** A parsed value with plain objects in place of maps. A member named `__proto__` is a member like any other. */
export function plainJson(value: JsonValue): unknown {
  if (Array.isArray(value)) return value.map(plainJson);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, member]) => [key, plainJson(member)]));
  return value;
}
