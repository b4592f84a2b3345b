import type { Build } from '../unroll.js';
import { batchSource } from './batch.js';
import { FLOAT32, FLOAT64 } from './element.js';
import { accumulateSource, multiplySource } from './multiply.js';
import { packSource } from './pack.js';
import { triangleSource } from './triangle.js';

/** Dense linear algebra in float32 and float64. */
export function algebraSource(build: Build): string {
  const parts = [packSource, multiplySource, batchSource, triangleSource];
  const both = [FLOAT32, FLOAT64].flatMap((element) => parts.map((part) => part(build, element)));
  return [...both, accumulateSource(build)].join('\n');
}
