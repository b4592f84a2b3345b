import { algebraSource } from './algebra/source.js';
import { productsSource } from './products/source.js';
import type { Build } from './unroll.js';

/** The AssemblyScript source of each module. What a module holds is loaded together; see `src/internal/modules`. */
export const MODULE_SOURCES: Readonly<Record<string, (build: Build) => string>> = {
  algebra: algebraSource,
  products: productsSource,
};
