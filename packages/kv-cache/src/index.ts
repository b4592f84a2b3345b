export { type FullCache, type FullCacheOptions, fullCache } from './full-cache.js';
