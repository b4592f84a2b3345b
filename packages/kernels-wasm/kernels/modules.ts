import { algebraSource } from './algebra/source.js';
import { attentionSource, floatAttentionSource } from './attention/source.js';
import { blockSource } from './block/source.js';
import { decodeSource } from './decode/source.js';
import { int8Source } from './int8/source.js';
import { productsSource } from './products/source.js';
import { repackSource } from './repack/source.js';
import { sidesSource } from './sides/source.js';
import { signalSource } from './signal/source.js';
import type { Build } from './unroll.js';

export interface ModuleSource {
  /** The AssemblyScript source. Where fused multiply-add gains next to nothing, one build serves as both: it is kept once. */
  source(build: Build): string;
  /** A module above, which this one shares kernels with: it is kept as edits of that one. */
  readonly base?: string;
  /** See `compileSource`: 0 where 1 was measured to be slower. */
  readonly shrinkLevel?: 0;
}

/** What a module holds is loaded together; see `src/internal/modules`. */
export const MODULE_SOURCES: Readonly<Record<string, ModuleSource>> = {
  'float-attention': { source: floatAttentionSource },
  attention: { source: attentionSource, base: 'float-attention' },
  block: { source: () => blockSource('simd') },
  algebra: { source: algebraSource },
  products: { source: productsSource, shrinkLevel: 0 },
  repack: { source: repackSource },
  decode: { source: decodeSource },
  signal: { source: () => signalSource('simd') },
  int8: { source: int8Source },
  sides: { source: () => sidesSource('simd') },
};
