/**
 * What a check answers. `passed` and `failed` count test cases; a check without them counts as one case.
 * `skipped` gives the reason why there was nothing to check on this machine.
 *
 * @typedef {object} CheckResult
 * @property {boolean} ok
 * @property {string} [output]   shown when the check failed
 * @property {string} [note]     shown in the line of the check
 * @property {string} [skipped]
 * @property {number} [passed]
 * @property {number} [failed]
 */
export {};
