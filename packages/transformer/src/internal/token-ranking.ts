/** Tokens by falling logit, equal ones by id, ranked only as far as they are asked for. */
export interface TokenRanking {
  /** Ranks these logits from now on, without NaN. They must not change meanwhile. Costs a pass over them. */
  start(logits: ArrayLike<number>): void;
  /** The token of a rank from 0 up. A new rank costs a logarithm of the vocabulary. */
  token(rank: number): number;
}

/** A heap whose vacated end holds the tokens that were taken, as in heapsort. Keeps its buffer. */
export function tokenRanking(): TokenRanking {
  let heap = new Int32Array(0);
  let size = 0;
  let logits: ArrayLike<number> = heap;

  function precedes(a: number, b: number): boolean {
    return logits[a] > logits[b] || (logits[a] === logits[b] && a < b);
  }

  function sink(token: number, place: number): void {
    let at = place;
    for (let child = 2 * at + 1; child < size; child = 2 * at + 1) {
      const right = child + 1;
      if (right < size && precedes(heap[right], heap[child])) child = right;
      if (precedes(token, heap[child])) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = token;
  }

  return {
    start(given) {
      logits = given;
      size = given.length;
      if (heap.length !== size) heap = new Int32Array(size);
      for (let token = 0; token < size; token++) heap[token] = token;
      for (let at = (size >> 1) - 1; at >= 0; at--) sink(heap[at], at);
    },
    token(rank) {
      const place = heap.length - 1 - rank;
      while (size > place) {
        size--;
        const last = heap[size];
        const first = heap[0];
        if (size > 0) sink(last, 0);
        heap[size] = first;
      }
      return heap[place];
    },
  };
}
