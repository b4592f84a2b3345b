import { productsSource } from './products/source.js';
import { sidesSource } from './sides/source.js';
import type { Build } from './unroll.js';

/** The AssemblyScript source of each module. What a module holds is loaded together; see `src/internal/modules`. */
export const MODULE_SOURCES: Readonly<Record<string, (build: Build) => string>> = {
  products: productsSource,
  sides: sidesSource,
};
