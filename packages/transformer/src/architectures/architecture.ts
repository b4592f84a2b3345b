import type { ModelGraph } from '@halftone/tensor';
import type { ModelConfig } from '../config.js';
import type { JsonObject } from '../internal/config-fields.js';

/** What is special about one architecture: how its config reads, and how its checkpoint names tensors. */
export interface Architecture {
  /** `architectures` entries of config.json, the usual one first. */
  readonly classNames: readonly string[];
  /** Prefix of all tensors but the head's. Checkpoints of the bare model leave it out. */
  readonly prefix: string;
  parse(json: JsonObject): ModelConfig;
  /** `prefix` is as above or empty. */
  graph(config: ModelConfig, prefix: string): ModelGraph;
}
