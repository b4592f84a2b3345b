import type { Edit, ModelGraph } from '@halftone/tensor';

/** What is decided for one norm. */
export interface FoldDecision {
  /** Index of the block; undefined for the final norm. */
  readonly block?: number;
  /** Name of the norm within its block. */
  readonly norm: string;
  /** Linears that read the norm's output. */
  readonly readers: readonly string[];
  readonly legal: boolean;
  /** Why it is not legal. */
  readonly reason?: string;
}

/** Edits that leave the model's function as it is, and the graph of the model after them. */
export interface FoldPlan {
  readonly edits: readonly Edit[];
  readonly graph: ModelGraph;
  readonly report: readonly FoldDecision[];
}

export interface FoldOptions {
  /**
   * Name for a head weight of its own, usually `lm_head.weight`, where the head shares the embedding's. The plan then begins by
   * copying it. Without a name a tied head, and what depends on it, stays as it is.
   */
  readonly untieHead?: string;
}
