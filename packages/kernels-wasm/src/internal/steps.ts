import type { Awaitable } from '@halftone/tensor';

/** A call on its way: its rows `first` to `first + count` are worked on. Fields change, so that calls allocate nothing. */
export interface RowsCall {
  rows: number;
  first: number;
  count: number;
}

/** A step that has nothing to wait for returns undefined. The first one chooses `count`. */
export type Step<Call extends RowsCall> = (call: Call) => Awaitable<void>;

/** All steps for some rows, then for the next ones. Returns when all is done, or a promise where a step gives one. */
export function runSteps<Call extends RowsCall>(steps: readonly Step<Call>[], call: Call, from = 0): Awaitable<void> {
  let step = from;
  for (; call.first < call.rows; call.first += call.count, step = 0) {
    for (; step < steps.length; step++) {
      const pending = steps[step](call);
      if (pending !== undefined) {
        const next = step + 1;
        return (pending as Promise<void>).then(() => runSteps(steps, call, next));
      }
    }
  }
  return undefined;
}
