import { readFileSync } from 'node:fs';

/** The version in this package's own manifest, which lies beside `src` and `dist` alike. */
export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}
