import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gguf, httpSource, llama2c, openCheckpoint, safetensors, withLayouts } from '@halftone/formats';
import { downloadModel, hubFileUrl, hubHeaders, hubModelFiles, hubSnapshot, parseHubName } from '@halftone/formats/hub';
import { WEIGHT_LAYOUTS } from '@halftone/formats/layouts';
import { fileSource, openCheckpointPath } from '@halftone/formats/node';
import { npy, npz } from '@halftone/formats/npy';
import { onnxCodec, onnxLayout } from '@halftone/formats/onnx';
import { type Checkpoint, HalftoneError, type WorkOptions } from '@halftone/tensor';
import { loadTokenizer, type ModelSource, openModelUrl, type Tokenizer } from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { modelUrl } from '@halftone/wren-5m';

export interface ModelArgumentOptions extends WorkOptions {
  /** Weights will not be read: a model of the Hub is looked at where it is and not downloaded. Default false. */
  readonly headersOnly?: boolean;
}

/** Opens what the command line calls a MODEL. */
export async function openModelArgument(argument: string, options: ModelArgumentOptions = {}): Promise<ModelSource> {
  const { location, headers } = await locate(argument, options);
  const openOptions = { signal: options.signal, layouts: WEIGHT_LAYOUTS };
  return isUrl(location) ? openModelUrl(location, { ...openOptions, headers }) : openModel(location, openOptions);
}

/** Opens the tensors of a MODEL argument that is perhaps not a model. Of URLs, single files only. */
export async function openCheckpointArgument(
  argument: string,
  options: ModelArgumentOptions = {},
): Promise<Checkpoint> {
  const { location, headers } = await locate(argument, options);
  const { signal } = options;
  if (!isUrl(location)) {
    const beside = onnxCodec({ openFile: (name) => fileSource(join(dirname(location), name)) });
    const codecs = [safetensors, gguf, npz, npy, beside, llama2c];
    const checkpoint = await openCheckpointPath(location, { signal, codecs });
    return withLayouts(checkpoint, { layouts: [onnxLayout, ...WEIGHT_LAYOUTS], signal });
  }
  return openCheckpoint(await httpSource(location, { signal, headers }), { codecs: [safetensors, gguf], signal });
}

interface Location {
  /** A path or an http(s) URL. */
  readonly location: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function locate(argument: string, options: ModelArgumentOptions): Promise<Location> {
  if (argument === 'wren') return { location: fileURLToPath(modelUrl) };
  if (!argument.startsWith('hf:')) return { location: argument };
  const model = parseHubName(argument);
  if (!options.headersOnly) return { location: await downloadModel(model, options) };
  const { commit, files } = await hubSnapshot(model, options);
  const needed = hubModelFiles(model, files).map((file) => file.path);
  const single = model.path ?? needed.find((path) => path.endsWith('.gguf'));
  // The folder's own address, as the URL of one of its files without the name.
  const location = single ? hubFileUrl(model, commit, single) : hubFileUrl(model, commit, 'x').replace(/x$/, '');
  return { location, headers: hubHeaders() };
}

function isUrl(location: string): boolean {
  return /^https?:\/\//i.test(location);
}

/** What to call a model in the metadata of a file made from it: the last part of its path, without an ending. */
export function modelName(argument: string): string {
  if (argument === 'wren') return 'wren-5m';
  const path = isUrl(argument) ? argument.replace(/[?#].*$/, '') : argument.replace(/^hf:([^/]+\/[^/@]+)@[^/]+/, '$1');
  const last =
    path
      .split(/[\\/]/)
      .filter((part) => part !== '')
      .at(-1) ?? argument;
  return last.replace(/\.(gguf|safetensors|bin)$/, '');
}

/** The tokenizer of an opened model. Throws `FORMAT` when it has none; `name` is what the user called the model. */
export function requireTokenizer(source: ModelSource, name: string): Tokenizer {
  if (!source.tokenizer) {
    throw new HalftoneError('FORMAT', `${name} has no tokenizer; put its tokenizer.json beside the weights`, {
      where: 'model',
    });
  }
  return loadTokenizer(source.tokenizer);
}
