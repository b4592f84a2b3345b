import { HalftoneError, isHalftoneError, type ReadOptions, throwIfAborted } from '@halftone/tensor';
import { HubApiError, listFiles, modelInfo } from '@huggingface/hub';
import { fetchWithRetry } from '../internal/http-retry.js';
import { type HubModel, isSafePath } from './hub-name.js';

export interface HubOptions extends ReadOptions {
  /** Default: the environment's `HF_ENDPOINT`, else `https://huggingface.co`. */
  readonly hubUrl?: string;
  /** For private and gated models. Default: the environment's `HF_TOKEN`. */
  readonly accessToken?: string;
  /** Default: the global `fetch`. */
  readonly fetch?: typeof fetch;
  /** Tries after the first one of each request, for status 408, 429, 5xx and broken connections. Default 4. */
  readonly retries?: number;
  /** Milliseconds before the first retry, doubled for each further one; `Retry-After` goes first. Default 300. */
  readonly retryDelay?: number;
}

/** A file as the Hub lists it. */
export interface HubFile {
  readonly path: string;
  readonly size: number;
  /** What the cache calls it and its content must hash to: SHA-256 (64 digits) of large files, git's SHA-1 (40) of others. */
  readonly hash: string;
}

/** A revision of a model, settled to the commit it meant when it was asked for. */
export interface HubSnapshot {
  readonly commit: string;
  readonly files: readonly HubFile[];
}

const MAX_FILES = 100_000;

/** `HubOptions` with their defaults. */
export function hubDefaults(options: HubOptions) {
  const environment = typeof process === 'undefined' ? {} : process.env;
  return {
    hubUrl: (options.hubUrl ?? environment.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, ''),
    accessToken: options.accessToken ?? environment.HF_TOKEN,
    fetch: options.fetch ?? globalThis.fetch,
    retries: options.retries ?? 4,
    retryDelay: options.retryDelay ?? 300,
    signal: options.signal,
  };
}

/**
 * The commit and files of a model, by two or more small requests. Throws `IO` for what is not there, needs a token, or cannot be
 * reached after the retries; `FORMAT` for names that would leave the cache's folder; `ABORTED`.
 */
export async function hubSnapshot(model: HubModel, options: HubOptions = {}): Promise<HubSnapshot> {
  const { hubUrl, accessToken, signal, ...policy } = hubDefaults(options);
  const name = `hf:${model.repo}`;
  // The library's functions know neither retries nor signals.
  const retrying: typeof fetch = (url, init) =>
    fetchWithRetry(
      policy,
      url as string | URL,
      { headers: { ...(init?.headers as Record<string, string>) }, signal },
      name,
      async (response) => new Response(await response.arrayBuffer(), response),
    );
  const request = { hubUrl, fetch: retrying, ...(accessToken ? { accessToken } : {}) };
  try {
    const { sha } = await modelInfo({
      ...request,
      name: model.repo,
      revision: model.revision,
      additionalFields: ['sha'],
    });
    if (!/^[0-9a-f]{40}$/.test(sha)) throw formatError(name, `the commit ${JSON.stringify(sha)}`);
    const files: HubFile[] = [];
    for await (const entry of listFiles({ ...request, repo: model.repo, revision: sha, recursive: true })) {
      if (entry.type !== 'file') continue;
      const file = { path: entry.path, size: entry.lfs?.size ?? entry.size, hash: entry.lfs?.oid ?? entry.oid ?? '' };
      if (!isHubFile(file) || files.length >= MAX_FILES) throw formatError(name, `the file ${JSON.stringify(file)}`);
      files.push(file);
    }
    return { commit: sha, files };
  } catch (cause) {
    throwIfAborted(signal, 'hub');
    if (isHalftoneError(cause)) throw cause;
    throw apiError(name, cause);
  }
}

function isHubFile({ path, size, hash }: HubFile): boolean {
  const known = /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash);
  return typeof path === 'string' && isSafePath(path) && Number.isSafeInteger(size) && size >= 0 && known;
}

function formatError(name: string, what: string): HalftoneError {
  return new HalftoneError('FORMAT', `${name}: the Hub lists ${what}, which cannot be`, { where: 'hub' });
}

function apiError(name: string, cause: unknown): HalftoneError {
  const status = cause instanceof HubApiError ? cause.statusCode : undefined;
  const reason =
    status === 401 || status === 403
      ? 'is private, gated or not there; set HF_TOKEN to a token that may read it'
      : status === 404
        ? 'is not there; check owner, name and revision'
        : `cannot be listed${status === undefined ? '' : ` (status ${status})`}; try later`;
  return new HalftoneError('IO', `${name} ${reason}`, { where: 'hub', details: { status }, cause });
}

/** Where a file of a settled revision is served, with ranges. */
export function hubFileUrl(model: HubModel, commit: string, path: string, options: HubOptions = {}): string {
  const encoded = path.split('/').map(encodeURIComponent).join('/');
  return `${hubDefaults(options).hubUrl}/${model.repo}/resolve/${encodeURIComponent(commit)}/${encoded}`;
}

/** Headers that requests to the Hub need. */
export function hubHeaders(options: HubOptions = {}): Readonly<Record<string, string>> {
  const { accessToken } = hubDefaults(options);
  return accessToken ? { authorization: `Bearer ${accessToken}` } : {};
}
