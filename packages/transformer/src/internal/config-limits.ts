/** Bounds on what a config.json may ask for, well above any model in use. */
export const MAX_LAYERS = 4096;
export const MAX_FEATURES = 2 ** 20;
export const MAX_VOCABULARY = 2 ** 24;
export const MAX_CONTEXT = 2 ** 31 - 1;
