/**
 * The layer table. A package imports only from lower layers, never a sibling, not even for types.
 * `platform: 'any'` packages run in browsers too: only what their `./node` entry, and those in `nodeEntries`, reach may import
 * Node's modules.
 * The private packages (oracle, bench, browser tests) serve tests and benches; nothing depends on them at run time.
 *
 * @type {Record<string, { layer: number, platform: 'any' | 'node', nodeEntries?: readonly string[] }>}
 */
export const LAYERS = {
  tensor: { layer: 0, platform: 'any' },
  numerics: { layer: 1, platform: 'any' },
  formats: { layer: 2, platform: 'any', nodeEntries: ['hub'] },
  quantizers: { layer: 2, platform: 'any' },
  'kv-cache': { layer: 2, platform: 'any' },
  pruning: { layer: 2, platform: 'any' },
  norms: { layer: 2, platform: 'any' },
  'kernels-wasm': { layer: 2, platform: 'any' },
  'kernels-webgpu': { layer: 2, platform: 'any' },
  transformer: { layer: 3, platform: 'any' },
  compress: { layer: 4, platform: 'any' },
  eval: { layer: 4, platform: 'any' },
  wren: { layer: 4, platform: 'any' },
  cli: { layer: 5, platform: 'node' },
  'llama-cpp-oracle': { layer: 5, platform: 'node' },
  bench: { layer: 5, platform: 'node' },
  'browser-tests': { layer: 5, platform: 'any' },
};
