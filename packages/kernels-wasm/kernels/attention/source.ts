import { exponentialSource } from '../block/exponential.js';
import type { Build } from '../unroll.js';
import { codedSource } from './coded.js';
import { entriesSource } from './entries.js';
import { itemsSource } from './items.js';
import { mergeSource } from './merge.js';
import { scoresSource } from './scores.js';
import { weighSource } from './weigh.js';

/** Attention over keys and values in float32. */
export function floatAttentionSource(build: Build): string {
  return source(build, false);
}

/** Attention over keys and values as they are stored. */
export function attentionSource(build: Build): string {
  return source(build, true);
}

function source(build: Build, coded: boolean): string {
  return [
    exponentialSource(build),
    scoresSource(build),
    weighSource(build),
    entriesSource(build, coded),
    coded ? codedSource(build) : '',
    itemsSource(coded),
    mergeSource(build),
  ].join('\n');
}
