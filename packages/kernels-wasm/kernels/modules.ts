import { algebraSource } from './algebra/source.js';
import { attentionSource } from './attention/source.js';
import { blockSource } from './block/source.js';
import { int8Source } from './int8/source.js';
import { productsSource } from './products/source.js';
import { repackSource } from './repack/source.js';
import { sidesSource } from './sides/source.js';
import { signalSource } from './signal/source.js';
import type { Build } from './unroll.js';

/**
 * The AssemblyScript source of each module. What a module holds is loaded together; see `src/internal/modules`.
 * Where fused multiply-add gains next to nothing, one build serves as both: it is kept once.
 */
export const MODULE_SOURCES: Readonly<Record<string, (build: Build) => string>> = {
  attention: attentionSource,
  block: () => blockSource('simd'),
  algebra: algebraSource,
  products: productsSource,
  repack: repackSource,
  signal: () => signalSource('simd'),
  int8: int8Source,
  sides: () => sidesSource('simd'),
};
