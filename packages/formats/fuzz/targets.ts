import type { GgmlType, LazyTensor } from '@halftone/tensor';
import {
  arrayBufferSource,
  decodeGgml,
  GGML_CODECS,
  gguf,
  ggufAsHuggingFace,
  huggingFaceToGguf,
  imatrixMeans,
  imatrixStatistics,
  llama2c,
  llama2cConfig,
  openSafetensorsShards,
  parseSafetensorsIndex,
  readImatrix,
  safetensors,
  tokenizerFromGguf,
  tokenizerToGguf,
  unpackGgml,
} from '../src/index.js';
import { npy, npz } from '../src/npy.js';
import { TINY_MODELS, tinyTensors } from '../test/support/tiny-models.js';
import type { FuzzTarget } from './fuzz.js';
import { LAYOUT_TARGETS } from './layout-targets.js';
import { mutateSafetensors, mutateText } from './mutate-safetensors.js';
import {
  BYTE_LEVEL_TOKENIZER,
  ggmlBlockSeeds,
  ggufModelSeeds,
  ggufSeeds,
  ggufTokenizerSeeds,
  imatrixDatSeeds,
  imatrixGgufSeeds,
  jsonSeeds,
  llama2cSeeds,
  npySeeds,
  npzSeeds,
  SENTENCEPIECE_TOKENIZER,
  safetensorsSeeds,
} from './seeds.js';

type Json = Readonly<Record<string, unknown>>;

/** Every reader of the package. A new one is one entry here. */
export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'safetensors',
    seeds: safetensorsSeeds,
    mutate: mutateSafetensors,
    read: async (bytes) => readAll((await safetensors.open(source(bytes))).tensors),
  },
  {
    name: 'safetensors-index',
    seeds: () => jsonSeeds({ metadata: { total_size: 0 }, weight_map: { a: 'a.safetensors', b: 'b-2.safetensors' } }),
    mutate: mutateText,
    read: readIndex,
  },
  {
    name: 'gguf',
    seeds: ggufSeeds,
    read: async (bytes) => readAll((await gguf.open(source(bytes))).tensors),
  },
  {
    name: 'ggml-blocks',
    seeds: () => ggmlBlockSeeds(Object.keys(GGML_CODECS) as GgmlType[]),
    read: decodeBlocks,
    // A block of 50 bytes decodes to 256 floats and is unpacked on the way; each IQ type has a table of up to 128 KiB beside it.
    allocation: (inputBytes) => 200 * inputBytes + 2 ** 20,
  },
  {
    name: 'gguf-model',
    seeds: ggufModelSeeds,
    read: async (bytes) => readAll((await ggufAsHuggingFace(await gguf.open(source(bytes)))).checkpoint.tensors),
  },
  {
    name: 'llama2c',
    seeds: llama2cSeeds,
    read: async (bytes) => {
      const checkpoint = await llama2c.open(source(bytes));
      llama2cConfig(checkpoint);
      await readAll(checkpoint.tensors);
    },
  },
  { name: 'imatrix-dat', seeds: imatrixDatSeeds, read: readStatistics },
  { name: 'imatrix-gguf', seeds: imatrixGgufSeeds, read: readStatistics },
  {
    name: 'tokenizer-from-gguf',
    seeds: ggufTokenizerSeeds,
    read: async (bytes) => tokenizerFromGguf((await gguf.open(source(bytes))).metadata),
  },
  {
    name: 'tokenizer-to-gguf',
    seeds: () => jsonSeeds(BYTE_LEVEL_TOKENIZER, SENTENCEPIECE_TOKENIZER),
    mutate: mutateText,
    read: (bytes) => withObject(bytes, (json) => tokenizerToGguf(json)),
  },
  {
    name: 'config-to-gguf',
    seeds: () => jsonSeeds(...Object.values(TINY_MODELS)),
    mutate: mutateText,
    read: (bytes) =>
      withObject(bytes, (configJson) => {
        for (const model of Object.values(TINY_MODELS)) {
          if (model.model_type === configJson.model_type)
            huggingFaceToGguf({ configJson, tensors: tinyTensors(model), tokenizerJson: BYTE_LEVEL_TOKENIZER });
        }
      }),
  },
  { name: 'npy', seeds: npySeeds, read: async (bytes) => readAll((await npy.open(source(bytes))).tensors) },
  {
    name: 'npz',
    seeds: npzSeeds,
    read: async (bytes) => readAll((await npz.open(source(bytes))).tensors),
    // The streams of the zip library and its search for the end of the archive; a deflated byte may become a thousand.
    allocation: (inputBytes) => 2000 * inputBytes + 2 * 1024 * 1024,
  },
  ...LAYOUT_TARGETS,
];

function source(bytes: Uint8Array) {
  return arrayBufferSource(bytes, 'fuzzed');
}

async function readAll(tensors: ReadonlyMap<string, LazyTensor>): Promise<void> {
  for (const tensor of tensors.values()) await tensor.read();
}

/** Opens shards that hold one tensor each, named by the first letter of the file. */
async function readIndex(bytes: Uint8Array): Promise<void> {
  const index = parseSafetensorsIndex(new TextDecoder().decode(bytes));
  await openSafetensorsShards(index, {
    openFile: (fileName) => {
      const header = `{"${fileName[0]}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`;
      const bytes = new Uint8Array(8 + header.length);
      bytes[0] = header.length;
      new TextEncoder().encodeInto(header, bytes.subarray(8));
      return source(bytes);
    },
  });
}

async function decodeBlocks(bytes: Uint8Array): Promise<void> {
  for (const tensor of (await gguf.open(source(bytes))).tensors.values()) {
    const packed = await tensor.read();
    if (!(tensor.dtype in GGML_CODECS)) continue;
    decodeGgml(packed);
    unpackGgml(packed);
  }
}

async function readStatistics(bytes: Uint8Array): Promise<void> {
  const imatrix = await readImatrix(source(bytes));
  for (const entry of imatrix.entries.values()) imatrixMeans(entry);
  imatrixStatistics(imatrix, 'llama');
}

/** The texts that callers parse themselves: what is no JSON object never reaches the library. */
function withObject(bytes: Uint8Array, use: (json: Json) => void): void {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return;
  }
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) use(json as Json);
}
