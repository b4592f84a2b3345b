import {
  gguf,
  type HttpSourceOptions,
  httpSource,
  isGgufSplit,
  openCheckpoint,
  openSafetensorsShards,
  parseSafetensorsIndex,
  SAFETENSORS_INDEX_NAME,
  safetensors,
} from '@halftone/formats';
import { type Checkpoint, HalftoneError, throwIfAborted } from '@halftone/tensor';
import { fetchBytes, publicName } from './internal/fetch-bytes.js';
import { ggufModelSource, huggingFaceModelSource, type LayoutOptions, type ModelFolder } from './model-files.js';
import type { ModelSource } from './model-source.js';

/** `fetch`, `headers` and `signal` hold for all requests, `retries` for those of weights. `layouts` as in `openModel`. */
export interface OpenModelUrlOptions extends HttpSourceOptions, LayoutOptions {}

const WHERE = 'openModelUrl';
/** An index of a model with 100,000 tensors takes about 10 MB. */
const MAX_INDEX_BYTES = 100_000_000;

/**
 * Opens a model on a web server that answers range requests: the URL of a .gguf file, of a .safetensors or
 * .safetensors.index.json file with config.json beside it, or of a folder in the Hugging Face layout (ending in `/`). Reads
 * the config, the headers and the tokenizer; weights are fetched when they are read. A query in the URL goes with every request.
 *
 * Throws `IO` naming the URL for what is not there or cannot be fetched, `UNSUPPORTED` for other URLs, parts of split GGUF
 * files, and servers without range requests, `FORMAT` and others as the readers and `modelSource` do.
 */
export async function openModelUrl(url: string | URL, options: OpenModelUrlOptions = {}): Promise<ModelSource> {
  throwIfAborted(options.signal, WHERE);
  const address = parseAddress(url);
  const checkpoint = await openWeights(address, options);
  try {
    return checkpoint.format === 'gguf'
      ? await ggufModelSource(checkpoint)
      : await huggingFaceModelSource(checkpoint, folderAt(address, options), options);
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

function parseAddress(url: string | URL): URL {
  try {
    return new URL(url);
  } catch (cause) {
    throw new HalftoneError('IO', `${JSON.stringify(String(url))} is not an absolute URL`, { where: WHERE, cause });
  }
}

async function openWeights(address: URL, options: OpenModelUrlOptions): Promise<Checkpoint> {
  const { pathname } = address;
  if (pathname.endsWith('.gguf')) return openGguf(address, options);
  if (pathname.endsWith('.safetensors')) {
    return openCheckpoint(await httpSource(address, options), { codecs: [safetensors], signal: options.signal });
  }
  const isFolder = pathname.endsWith('/');
  if (!isFolder && !pathname.endsWith('.safetensors.index.json')) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `${publicName(address)}: a model's URL ends in .gguf, .safetensors, .safetensors.index.json or, for a folder, in /`,
      { where: WHERE },
    );
  }
  const indexAddress = isFolder ? beside(address, SAFETENSORS_INDEX_NAME) : address;
  const index = await fetchBytes(indexAddress, MAX_INDEX_BYTES, options);
  if (index !== undefined) {
    return openSafetensorsShards(parseSafetensorsIndex(new TextDecoder().decode(index), publicName(indexAddress)), {
      signal: options.signal,
      openFile: (fileName) => httpSource(beside(address, fileName), options),
    });
  }
  if (isFolder) return openWeights(beside(address, 'model.safetensors'), options);
  throw new HalftoneError('IO', `${publicName(address)} is not there; check the address`, { where: WHERE });
}

async function openGguf(address: URL, options: OpenModelUrlOptions): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(await httpSource(address, options), {
    codecs: [gguf],
    signal: options.signal,
  });
  if (!isGgufSplit(checkpoint)) return checkpoint;
  await checkpoint.close();
  throw new HalftoneError(
    'UNSUPPORTED',
    `${publicName(address)} is one part of a split model; download all parts and open the first`,
    { where: WHERE },
  );
}

function folderAt(address: URL, options: OpenModelUrlOptions): ModelFolder {
  return {
    name: publicName(new URL('.', address)),
    read: (fileName, maxBytes) => fetchBytes(beside(address, fileName), maxBytes, options),
  };
}

/** Another file of the folder. The name comes from a downloaded index: encoded, it cannot lead to another place. */
function beside(address: URL, fileName: string): URL {
  const url = new URL(`./${encodeURIComponent(fileName)}`, address);
  url.search = address.search;
  return url;
}
