import { hasTable, type Layout, type Storage, type WasmBuild } from '../../src/internal/layout.js';

/** Every layout that has kernels of its own in a build. */
export function layouts(build: WasmBuild): readonly Layout[] {
  const storages: readonly Storage[] = ['crumb', 'nibble', 'byte', 'crumbTable', 'nibbleTable'];
  return [...storages, ...(build === 'relaxed' ? (['sixBit'] as const) : [])].flatMap((storage) =>
    ([1, 2] as const).flatMap((groups) =>
      (hasTable(storage) ? [false] : [false, true]).map((offsets) => ({ storage, groups, offsets })),
    ),
  );
}
