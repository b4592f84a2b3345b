import { exponentialSource } from '../block/exponential.js';
import type { Build } from '../unroll.js';
import { codedSource } from './coded.js';
import { entriesSource } from './entries.js';
import { itemsSource } from './items.js';
import { mergeSource } from './merge.js';
import { scoresSource } from './scores.js';
import { weighSource } from './weigh.js';

/** Attention over keys and values as they are stored. */
export function attentionSource(build: Build): string {
  return [
    exponentialSource(build),
    scoresSource(build),
    weighSource(build),
    entriesSource(build),
    codedSource(build),
    itemsSource(),
    mergeSource(build),
  ].join('\n');
}
