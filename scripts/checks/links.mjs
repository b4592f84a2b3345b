/** Relative links of every Markdown file must lead to a file of the repository and, with an anchor, to a heading. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { repositoryFiles, root } from '../workspace.mjs';
import { headingAnchors, withoutCode } from './markdown.mjs';

/** @returns {Promise<import('./check.mjs').CheckResult>} */
export async function checkLinks() {
  const files = await repositoryFiles();
  const tracked = new Set(files);
  const folders = new Set(files.flatMap((file) => ancestors(file)));
  /** @type {string[]} */
  const problems = [];
  let count = 0;
  for (const file of files.filter((name) => name.endsWith('.md'))) {
    const text = withoutCode(readFileSync(join(root, file), 'utf8'));
    for (const match of text.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)|^\[[^\]]+\]:\s*(\S+)/gm)) {
      const link = match[1] ?? match[2];
      const line = text.slice(0, match.index).split('\n').length;
      /** @param {string} message */
      const report = (message) => problems.push(`${file}:${line}: ${link} ${message}`);
      count++;
      if (/^(https?|mailto):/.test(link)) continue;
      const [path, anchor] = link.split('#', 2);
      const target = path === '' ? file : normalize(join(dirname(file), decodeURIComponent(path))).replace(/\/$/, '');
      if (target.startsWith('..')) report('leaves the repository');
      else if (!tracked.has(target) && !folders.has(target)) {
        report(existsSync(join(root, target)) ? 'is not in the repository' : 'does not exist');
      } else if (anchor && statSync(join(root, target)).isFile() && target.endsWith('.md')) {
        if (!headingAnchors(readFileSync(join(root, target), 'utf8')).has(anchor)) report('has no such heading');
      }
    }
  }
  return { ok: problems.length === 0, output: problems.join('\n'), note: `${count} links` };
}

/** @param {string} file */
function ancestors(file) {
  const parts = file.split('/');
  return parts.map((_, i) => parts.slice(0, i).join('/')).filter(Boolean);
}
