import { attentionSource } from './attention/source.js';
import { blockSource } from './block/source.js';
import { productsSource } from './products/source.js';
import { repackSource } from './repack/source.js';
import { signalSource } from './signal/source.js';
import type { Build } from './unroll.js';

/** The AssemblyScript source of each module. What a module holds is loaded together; see `src/internal/modules`. */
export const MODULE_SOURCES: Readonly<Record<string, (build: Build) => string>> = {
  attention: attentionSource,
  block: blockSource,
  products: productsSource,
  repack: repackSource,
  signal: signalSource,
};
