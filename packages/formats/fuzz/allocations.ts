/** Counts bytes that arrays ask for, from outside: readers do not know of it. */
export interface AllocationMeter {
  /** Bytes asked for since the last call. Memory that fails to be given counts as well. */
  take(): number;
  /** Puts the globals back. */
  restore(): void;
}

type Constructor = new (...values: never[]) => object;

const POINTER_BYTES = 8;
const TYPED = [
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
] as const;
const BUFFER_FUNCTIONS = ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const;

/**
 * Wraps the global constructors of arrays and buffers, `slice` of both, and Buffer's allocators. `new Array(n)` counts eight bytes
 * an item. Strings, maps and arrays that grow item by item do not count; their items were read from the file.
 */
export function meterAllocations(): AllocationMeter {
  let bytes = 0;
  const undo: (() => void)[] = [];

  function replace<T extends object, K extends keyof T>(owner: T, key: K, value: T[K]): void {
    const before = Object.getOwnPropertyDescriptor(owner, key) as PropertyDescriptor;
    Object.defineProperty(owner, key, { ...before, value });
    undo.push(() => Object.defineProperty(owner, key, before));
  }

  function countCalls<T extends Constructor>(original: T, size: (args: readonly unknown[]) => number): T {
    const count = (args: readonly unknown[]) => {
      bytes += size(args);
    };
    return new Proxy(original, {
      construct(target, args, newTarget) {
        count(args);
        return Reflect.construct(target, args, newTarget === proxyOf(target) ? target : newTarget);
      },
      apply(target, self, args) {
        count(args);
        return Reflect.apply(target as unknown as (...values: unknown[]) => unknown, self, args);
      },
    });
  }

  const proxies = new Map<Constructor, Constructor>();
  const proxyOf = (target: Constructor) => proxies.get(target);
  const globals = globalThis as unknown as Record<string, Constructor>;

  function wrapGlobal(name: string, size: (args: readonly unknown[]) => number): void {
    const original = globals[name] as Constructor;
    const proxy = countCalls(original, size);
    proxies.set(original, proxy);
    replace(globals, name, proxy);
  }

  for (const name of TYPED) {
    const itemBytes = (globals[name] as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT;
    wrapGlobal(name, ([first]) => itemBytes * itemCount(first));
  }
  for (const name of ['ArrayBuffer', 'SharedArrayBuffer']) wrapGlobal(name, ([first]) => itemCount(first));
  wrapGlobal('Array', (args) => (args.length === 1 ? POINTER_BYTES * itemCount(args[0]) : 0));

  for (const name of BUFFER_FUNCTIONS) {
    const original = Buffer[name] as (size: number, ...rest: never[]) => Buffer;
    const counting = (size: number, ...rest: never[]) => {
      bytes += itemCount(size);
      return original.call(Buffer, size, ...rest);
    };
    replace(Buffer, name, counting as never);
  }
  for (const prototype of [Object.getPrototypeOf(Uint8Array.prototype), ArrayBuffer.prototype]) {
    const original = prototype.slice as (...args: unknown[]) => { byteLength: number };
    replace(prototype, 'slice', function slice(this: unknown, ...args: unknown[]) {
      const result = original.apply(this, args);
      bytes += result.byteLength;
      return result;
    });
  }

  return {
    take() {
      const taken = bytes;
      bytes = 0;
      return taken;
    },
    restore() {
      for (const step of undo.reverse()) step();
    },
  };
}

/** How many items a constructor's first argument makes room for: none for a view of a buffer. */
function itemCount(first: unknown): number {
  if (typeof first === 'number') return first > 0 ? first : 0;
  if (typeof first !== 'object' || first === null) return 0;
  const isBuffer = Object.prototype.toString.call(first).endsWith('ArrayBuffer]');
  return isBuffer ? 0 : Number((first as { length?: number }).length ?? 0);
}
