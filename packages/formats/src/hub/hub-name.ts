import { HalftoneError } from '@halftone/tensor';

/** A model on the Hugging Face Hub, or one file of it. */
export interface HubModel {
  /** `owner/name` */
  readonly repo: string;
  /** A branch, tag or commit. */
  readonly revision: string;
  /** A file in the repository; undefined for the model as a whole. */
  readonly path?: string;
}

const PART = /^[\w.-]{1,96}$/;

/**
 * Reads `hf:owner/name`, `hf:owner/name@revision` and `hf:owner/name[@revision]/folder/file.gguf`; the revision is `main` where
 * there is none, and its slashes are written `%2F`. Throws `FORMAT` for everything else.
 */
export function parseHubName(name: string): HubModel {
  const [owner = '', repoAndRevision = '', ...path] = name.replace(/^hf:/, '').split('/');
  const at = repoAndRevision.indexOf('@');
  const repo = at < 0 ? repoAndRevision : repoAndRevision.slice(0, at);
  const revision = at < 0 ? 'main' : decodeRevision(repoAndRevision.slice(at + 1));
  const valid = name.startsWith('hf:') && PART.test(owner) && PART.test(repo) && revision !== '';
  if (!valid || !isSafePath(path.length > 0 ? path.join('/') : 'file')) {
    throw new HalftoneError(
      'FORMAT',
      `${JSON.stringify(name)} names no model of the Hub; write hf:owner/name, hf:owner/name@revision or hf:owner/name/file.gguf`,
      { where: 'hub', details: { name } },
    );
  }
  return { repo: `${owner}/${repo}`, revision, ...(path.length > 0 ? { path: path.join('/') } : {}) };
}

function decodeRevision(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

/** Whether a path of a repository stays inside the folder that it is joined to, on every system. */
export function isSafePath(path: string): boolean {
  if (path === '' || path.length > 1024 || /[\\\0:]/.test(path)) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}
