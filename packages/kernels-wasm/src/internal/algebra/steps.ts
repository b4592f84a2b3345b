/**
 * An operation of several jobs. It yields what each job returned: nothing when it is done, or a promise on a page's main
 * thread. So blocked algorithms are written once for both.
 */
export type Steps = Generator<void | Promise<void>, void, void>;

/** Takes all steps: at once as long as there is nothing to wait for. */
export function finish(steps: Steps): void | Promise<void> {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return undefined;
    if (value !== undefined) return finishLater(steps, value);
  }
}

async function finishLater(steps: Steps, first: Promise<void>): Promise<void> {
  try {
    await first;
    for (const pending of steps) await pending;
  } finally {
    // Gives back what the operation holds, also when a job failed.
    steps.return();
  }
}
