import { copyFile, mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { HalftoneError, isHalftoneError, type WorkOptions } from '@halftone/tensor';
import { getHFHubCachePath, getRepoFolderName } from '@huggingface/hub';
import { downloadFile } from './download-file.js';
import { type HubFile, type HubOptions, hubDefaults, hubFileUrl, hubHeaders, hubSnapshot } from './hub-files.js';
import { type HubModel, isSafePath } from './hub-name.js';

export interface DownloadModelOptions extends HubOptions, WorkOptions {
  /** Default: the cache that all Hugging Face libraries share (`HF_HUB_CACHE`, `HF_HOME`, `~/.cache/huggingface/hub`). */
  readonly cacheDir?: string;
}

const WHERE = 'hub';
const SMALL_FILES = /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|quantize_config)\.json$/;

/**
 * Downloads what a model needs into the shared cache of Hugging Face libraries, and gives the path to open: the snapshot's folder,
 * or the file that was named. Files that are in the cache are not asked for again; a download that was interrupted goes on where
 * it stopped. Without a network, what the cache has for the revision is used.
 *
 * Of a model as a whole it takes config, tokenizer and the safetensors weights; where there are none, the only GGUF model.
 * Throws `IO` as `hubSnapshot` and `downloadFile` do, and for a repository without weights or with several GGUF models.
 */
export async function downloadModel(model: HubModel, options: DownloadModelOptions = {}): Promise<string> {
  const storage = join(options.cacheDir ?? getHFHubCachePath(), getRepoFolderName({ name: model.repo, type: 'model' }));
  const cached = await cachedPath(storage, model);
  if (cached !== undefined && /^[0-9a-f]{40}$/.test(model.revision) && model.path !== undefined) return cached;
  let snapshot: Awaited<ReturnType<typeof hubSnapshot>>;
  try {
    snapshot = await hubSnapshot(model, options);
  } catch (error) {
    const unreachable = isHalftoneError(error) && error.code === 'IO' && error.details.status === undefined;
    if (unreachable && cached !== undefined) return cached;
    throw error;
  }
  const wanted = hubModelFiles(model, snapshot.files);
  const folder = join(storage, 'snapshots', snapshot.commit);
  for (const file of wanted) await ensureFile(storage, folder, model, snapshot.commit, file, options);
  if (model.revision !== snapshot.commit && isSafePath(model.revision)) {
    const ref = join(storage, 'refs', model.revision);
    await mkdir(dirname(ref), { recursive: true });
    await writeFile(ref, snapshot.commit);
  }
  return model.path === undefined ? folder : join(folder, model.path);
}

/**
 * The files of a repository that a model needs: see `downloadModel`. Throws `IO` for a repository without weights or with several
 * GGUF models, and for a named file that is not there.
 */
export function hubModelFiles({ repo, path }: HubModel, files: readonly HubFile[]): HubFile[] {
  if (path !== undefined) return namedFiles(repo, path, files);
  const top = files.filter((file) => !file.path.includes('/'));
  const small = top.filter(({ path: name }) => SMALL_FILES.test(name) || name === 'chat_template.jinja');
  const weights = top.filter(({ path: name }) => /\.safetensors(\.index\.json)?$/.test(name));
  if (weights.length > 0) return [...small, ...mainWeights(weights)];
  const models = top.filter(
    ({ path: name }) => name.endsWith('.gguf') && !/-(?!00001)\d{5}-of-\d{5}\.gguf$/.test(name),
  );
  if (models.length === 1) return namedFiles(repo, (models[0] as HubFile).path, files);
  const fix =
    models.length === 0
      ? 'has neither safetensors nor GGUF weights; choose another model'
      : `has several models; name one: ${models
          .slice(0, 8)
          .map((file) => `hf:${repo}/${file.path}`)
          .join(', ')}`;
  throw new HalftoneError('IO', `hf:${repo} ${fix}`, { where: WHERE, details: { models: models.map((f) => f.path) } });
}

/** `model.safetensors` or the shards of the index; not the same weights twice (`consolidated.safetensors`). */
function mainWeights(weights: readonly HubFile[]): HubFile[] {
  const main = weights.filter(({ path }) => /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/.test(path));
  return main.length > 0 ? main : [...weights];
}

/** A named file, with the other parts of a split GGUF model. */
function namedFiles(repo: string, path: string, files: readonly HubFile[]): HubFile[] {
  const split = /^(.*)-\d{5}-of-(\d{5})\.gguf$/.exec(path);
  const parts = files.filter((file) => {
    if (split === null) return file.path === path;
    return file.path.startsWith(`${split[1]}-`) && file.path.endsWith(`-of-${split[2]}.gguf`);
  });
  if (parts.some((file) => file.path === path)) return parts;
  throw new HalftoneError('IO', `hf:${repo} has no file ${path}; check the name`, { where: WHERE, details: { path } });
}

async function ensureFile(
  storage: string,
  folder: string,
  model: HubModel,
  commit: string,
  file: HubFile,
  options: DownloadModelOptions,
): Promise<void> {
  const pointer = join(folder, file.path);
  if (await hasSize(pointer, file.size)) return;
  const blob = join(storage, 'blobs', file.hash);
  if (!(await hasSize(blob, file.size))) {
    const { fetch, retries, retryDelay } = hubDefaults(options);
    const { signal, onProgress } = options;
    const url = hubFileUrl(model, commit, file.path, options);
    await downloadFile(url, blob, file, {
      fetch,
      retries,
      retryDelay,
      headers: hubHeaders(options),
      signal,
      onProgress,
    });
  }
  await mkdir(dirname(pointer), { recursive: true });
  await rm(pointer, { force: true });
  try {
    await symlink(relative(dirname(pointer), blob), pointer);
  } catch {
    // No links on this file system: a copy serves as well.
    await copyFile(blob, pointer);
  }
}

async function hasSize(path: string, size: number): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.size === size,
    () => false,
  );
}

/** What the cache has for a revision, as far as can be told without the list of files. */
async function cachedPath(storage: string, { revision, path }: HubModel): Promise<string | undefined> {
  const commit = /^[0-9a-f]{40}$/.test(revision) ? revision : await cachedCommit(storage, revision);
  if (commit === undefined) return undefined;
  const found = join(storage, 'snapshots', commit, path ?? '');
  return stat(found).then(
    () => found,
    () => undefined,
  );
}

async function cachedCommit(storage: string, revision: string): Promise<string | undefined> {
  if (!isSafePath(revision)) return undefined;
  const text = await readFile(join(storage, 'refs', revision), 'utf8').catch(() => '');
  return /^[0-9a-f]{40}\s*$/.test(text) ? text.trim() : undefined;
}
