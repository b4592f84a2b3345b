type Operation<Values extends readonly unknown[]> = (...values: Values) => void | Promise<void>;

/**
 * Operations of one runtime share its job and its scratch memory. Where one may be pending when another is asked for, the
 * wrapped operations wait for each other.
 */
export function turns(): <Values extends readonly unknown[]>(operation: Operation<Values>) => Operation<Values> {
  let last: Promise<void> | undefined;
  const follow = (pending: Promise<void>): Promise<void> => {
    last = pending;
    const done = () => {
      if (last === pending) last = undefined;
    };
    pending.then(done, done);
    return pending;
  };
  return (operation) =>
    (...values) => {
      if (last !== undefined) {
        const next = () => operation(...values);
        return follow(last.then(next, next));
      }
      const pending = operation(...values);
      return pending === undefined ? undefined : follow(pending);
    };
}
