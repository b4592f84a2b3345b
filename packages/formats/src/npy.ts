export { npy, writeNpy } from './npy/npy.js';
export { npyLayout } from './npy/npy-header.js';
export { NPZ_DEFAULTS, type NpzOptions, npz, npzCodec } from './npy/npz.js';
export { writeNpz } from './npy/npz-writer.js';
