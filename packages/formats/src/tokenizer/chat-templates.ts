import { type Checkpoint, HalftoneError } from '@halftone/tensor';
import type { GgufMetadataEntry } from '../gguf-types.js';
import type { Json } from './token-list.js';

const KEY = 'tokenizer.chat_template';
const MOST_TEMPLATES = 1000;

/**
 * `chat_template` of `tokenizer_config.json`, one text or a list of `{ name, template }`, as GGUF keys: the one named
 * `default` is `tokenizer.chat_template`, another `tokenizer.chat_template.NAME`, and `tokenizer.chat_templates` lists these
 * names. Throws `FORMAT` for entries without a name or template, and for names that GGUF tools could not find again.
 * Source: gguf-py, gguf_writer.py, `add_chat_template`.
 */
export function chatTemplateEntries(template: unknown): GgufMetadataEntry[] {
  if (typeof template === 'string') return [{ key: KEY, type: 'string', value: template }];
  if (!Array.isArray(template)) return [];
  const named = new Map<string, string>();
  for (const each of template as readonly (Json | null)[]) {
    const { name, template: text } = each ?? {};
    if (typeof name !== 'string' || !/^\w{1,64}$/.test(name) || typeof text !== 'string' || named.has(name)) {
      throw new HalftoneError(
        'FORMAT',
        `tokenizer_config.json: chat_template has an entry named ${JSON.stringify(name)}; every entry needs a template and a name of its own of letters, digits and underscores`,
        { where: 'tokenizer', details: { name } },
      );
    }
    named.set(name, text);
  }
  const main = named.get('default');
  named.delete('default');
  const entries: GgufMetadataEntry[] = [];
  if (named.size > 0) entries.push({ key: 'tokenizer.chat_templates', type: 'string[]', value: [...named.keys()] });
  for (const [name, text] of named) entries.push({ key: `${KEY}.${name}`, type: 'string', value: text });
  if (main !== undefined) entries.push({ key: KEY, type: 'string', value: main });
  return entries;
}

/** `chat_template` of `tokenizer_config.json`: the text, or the list where a file has named ones. */
export function chatTemplateOf(
  metadata: Checkpoint['metadata'],
): string | { name: string; template: string }[] | undefined {
  const main = metadata.get(KEY);
  const named: { name: string; template: string }[] = [];
  for (const [key, value] of metadata) {
    if (!key.startsWith(`${KEY}.`) || typeof value !== 'string' || named.length >= MOST_TEMPLATES) continue;
    named.push({ name: key.slice(KEY.length + 1), template: value });
  }
  if (named.length === 0) return typeof main === 'string' ? main : undefined;
  return typeof main === 'string' ? [{ name: 'default', template: main }, ...named] : named;
}
