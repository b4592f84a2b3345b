/** Drives the page of packages/browser-tests in Chromium, as a reader would: types a prompt, presses the button, reads. */
const STATE = '#result[data-state=done], #result[data-state=failed]';
/** What Chromium says then, whatever the program does about it. */
const BLOB_WORKER_REFUSED = /creating a worker from 'blob:.*worker-src/i;

/**
 * What the page says. `errors` holds all that went wrong, also what only the console shows.
 *
 * @typedef {object} Visit
 * @property {boolean} isolated
 * @property {{ place: Place, message: string, text: string, backend: string, threads: number, notes: string }[]} runs
 * @property {string[]} errors
 * @property {boolean} stuck       a step took too long
 * @property {number} refusals    workers from Blob URLs that the content-security policy did not let start
 *
 * @typedef {'page' | 'worker'} Place
 *
 * @typedef {object} VisitOptions
 * @property {string} url
 * @property {string} prompt
 * @property {number} maxTokens
 * @property {number} threads
 * @property {number} timeout   milliseconds for each step
 * @property {(message: import('playwright-core').ConsoleMessage) => boolean} isExpected   console errors that are no fault
 */

/** @type {readonly Place[]} */
const PLACES = ['page', 'worker'];

/** @param {import('playwright-core').Browser} browser @param {VisitOptions} options @returns {Promise<Visit>} */
export async function visit(browser, { url, prompt, maxTokens, threads, timeout, isExpected }) {
  /** @type {Visit} */
  const seen = { isolated: false, runs: [], errors: [], stuck: false, refusals: 0 };
  const context = await browser.newContext();
  context.setDefaultTimeout(timeout);
  try {
    const page = await context.newPage();
    page.on('pageerror', (error) => seen.errors.push(`uncaught: ${error.stack ?? error.message}`));
    page.on('console', (message) => {
      if (message.type() !== 'error' || isExpected(message)) return;
      if (BLOB_WORKER_REFUSED.test(message.text())) seen.refusals++;
      else seen.errors.push(`console: ${message.text()} (${message.location().url})`);
    });
    page.on('request', (request) => {
      const address = request.url();
      if (!address.startsWith(url) && !address.startsWith('blob:')) seen.errors.push(`asks for ${address}`);
    });
    await page.goto(url);
    seen.isolated = (await page.locator('#isolated').textContent()) === 'yes';
    await page.locator('#prompt').fill(prompt);
    await page.locator('#threads').selectOption(String(threads));
    await page.locator('#max-tokens').fill(String(maxTokens));
    for (const place of PLACES) {
      await page.locator('#place').selectOption(place);
      await page.locator('#generate').click();
      await page.locator(STATE).waitFor();
      const read = async (/** @type {string} */ id) => (await page.locator(`#${id}`).textContent()) ?? '';
      seen.runs.push({
        place,
        message: await read('message'),
        text: await read('text'),
        backend: await read('backend'),
        threads: Number(await read('used-threads')),
        notes: await read('notes'),
      });
    }
  } catch (error) {
    seen.stuck = true;
    seen.errors.push(error instanceof Error ? error.message : String(error));
  } finally {
    await context.close();
  }
  return seen;
}
