/** The little that the checks need to know about Markdown. */

/**
 * Fenced code blocks.
 * @param {string} text
 * @returns {{ language: string, code: string, line: number }[]} `line` is that of the first line of code
 */
export function codeBlocks(text) {
  /** @type {{ language: string, code: string, line: number }[]} */
  const blocks = [];
  const lines = text.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const open = /^(\s*)(`{3,}|~{3,})\s*([\w-]*)/.exec(lines[i]);
    if (!open) continue;
    const first = i + 1;
    let end = first;
    while (end < lines.length && !lines[end].trimStart().startsWith(open[2])) end++;
    blocks.push({ language: open[3], code: lines.slice(first, end).join('\n'), line: first + 1 });
    i = end;
  }
  return blocks;
}

/** The text with its code taken out, line numbers kept. @param {string} text */
export function withoutCode(text) {
  let fence = '';
  return text
    .split('\n')
    .map((line) => {
      const mark = /^\s*(`{3,}|~{3,})/.exec(line)?.[1];
      if (fence) {
        if (mark?.startsWith(fence)) fence = '';
        return '';
      }
      if (mark) {
        fence = mark;
        return '';
      }
      return line.replace(/`[^`]*`/g, (code) => ' '.repeat(code.length));
    })
    .join('\n');
}

/** Anchors of the headings, as code hosts make them. @param {string} text @returns {Set<string>} */
export function headingAnchors(text) {
  const anchors = new Set();
  /** @type {Map<string, number>} */
  const seen = new Map();
  let fence = false;
  for (const line of text.split('\n')) {
    if (/^\s*(```|~~~)/.test(line)) fence = !fence;
    const heading = fence ? null : /^#{1,6}\s+(.*?)\s*#*\s*$/.exec(line);
    if (!heading) continue;
    const slug = heading[1]
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}
