import { type ErrorCode, HalftoneError } from '@halftone/tensor';

/** Throws, naming the weight or tensor that the layout `where` cannot take. */
export function refuse(code: ErrorCode, where: string, name: string, message: string): never {
  throw new HalftoneError(code, `${name}: ${message}`, { where, details: { name } });
}
