/**
 * Where the files of this package lie. All are `file:` URLs in Node and page-relative URLs in a bundler that
 * understands `new URL(..., import.meta.url)`.
 */

/** Folder in the Hugging Face layout: `config.json`, `model.safetensors` (bf16), `tokenizer.json`. */
export const modelUrl: URL = new URL('../model/', import.meta.url);

/** About 100 KB from eight books that the model never saw. Judge on this. */
export const heldoutTextUrl: URL = new URL('../text/heldout.txt', import.meta.url);

/** About 128 KB from the books the model was trained on. Calibrate on this, never judge. */
export const calibrationTextUrl: URL = new URL('../text/calibration.txt', import.meta.url);
