import { int8Source } from './int8/source.js';
import { productsSource } from './products/source.js';
import { sidesSource } from './sides/source.js';
import type { Build } from './unroll.js';

/** The AssemblyScript source of each module. What a module holds is loaded together; see `src/internal/modules`. */
export const MODULE_SOURCES: Readonly<Record<string, (build: Build) => string>> = {
  int8: int8Source,
  products: productsSource,
  sides: sidesSource,
};
