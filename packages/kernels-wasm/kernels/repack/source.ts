import { VECTORS } from '../ggml/vectors.js';
import { blocksSource } from './blocks.js';
import { floatsSource } from './floats.js';
import { superBlocksSource } from './super-blocks.js';

/** From the bytes of files to panels. Both builds are the same: nothing here is relaxed. */
export function repackSource(): string {
  return [VECTORS, blocksSource(), superBlocksSource(), floatsSource()].join('\n');
}
