/** What went wrong, in the words a caller may branch on. */
export type ErrorCode =
  | 'SHAPE'
  | 'DTYPE'
  | 'RANGE'
  | 'FORMAT'
  | 'UNSUPPORTED'
  | 'NUMERIC'
  | 'DEVICE'
  | 'IO'
  | 'ABORTED';

export interface HalftoneErrorOptions {
  /** The module or method that refuses, for example `safetensors` or `gptq`. */
  readonly where: string;
  /** Machine-readable facts: tensor name, offset, expected and actual values. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/**
 * The one error type of all Halftone packages.
 *
 * `message` reads `[where] what is wrong; what to do`.
 */
export class HalftoneError extends Error {
  override readonly name = 'HalftoneError';
  readonly code: ErrorCode;
  readonly where: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: HalftoneErrorOptions) {
    super(`[${options.where}] ${message}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.where = options.where;
    this.details = options.details ?? {};
  }
}

/** Recognises a HalftoneError also when it comes from another copy of this package. */
export function isHalftoneError(value: unknown): value is HalftoneError {
  return (
    value instanceof Error &&
    value.name === 'HalftoneError' &&
    typeof (value as Partial<HalftoneError>).code === 'string' &&
    typeof (value as Partial<HalftoneError>).where === 'string'
  );
}

/** Throws `ABORTED` when the signal has fired. Call it between units of long work. */
export function throwIfAborted(signal: AbortSignal | undefined, where: string): void {
  if (signal?.aborted) {
    throw new HalftoneError('ABORTED', 'the work was cancelled', { where, cause: signal.reason });
  }
}

/** Throws; for use inside this package. */
export function fail(code: ErrorCode, where: string, message: string, details?: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where, details });
}

/** Throws `SHAPE` unless a thing has as many elements (or bytes) as it must. */
export function expectCount(where: string, what: string, actual: number, expected: number): void {
  if (actual !== expected)
    fail('SHAPE', where, `${what}: ${actual} given but ${expected} needed`, { actual, expected });
}
