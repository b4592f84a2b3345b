import type { Layout, Storage, WasmBuild } from '../../src/internal/layout.js';

/** Every layout that has kernels of its own in a build. */
export function layouts(build: WasmBuild): readonly Layout[] {
  const storages: readonly Storage[] = build === 'relaxed' ? ['nibble', 'sixBit', 'byte'] : ['nibble', 'byte'];
  return storages.flatMap((storage) =>
    ([1, 2] as const).flatMap((groups) => [false, true].map((offsets) => ({ storage, groups, offsets }))),
  );
}
