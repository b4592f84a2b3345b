/**
 * libllama on whole models: logits, losses, tokens, file quantization. Every call runs in a child process.
 *
 * Source: llama.h. The CPU backend alone is used, with float32 keys and values and without flash attention; `llamaSpeed`
 * takes llama.cpp's defaults instead.
 */
import { HalftoneError } from '@halftone/tensor';
import { askWorker, ORACLE_DEFAULTS, type OracleOptions } from './child-process.js';
import { ORACLE_GGML_TYPES, type OracleGgmlType } from './ggml-type-ids.js';

/** `enum llama_ftype`: what a file is mostly made of. Source: llama.h. */
export const LLAMA_FILE_TYPES = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  Q2_K: 10,
  Q3_K_S: 11,
  Q3_K_M: 12,
  Q3_K_L: 13,
  Q4_K_S: 14,
  Q4_K_M: 15,
  Q5_K_S: 16,
  Q5_K_M: 17,
  Q6_K: 18,
  IQ2_XXS: 19,
  IQ2_XS: 20,
  Q2_K_S: 21,
  IQ3_XS: 22,
  IQ3_XXS: 23,
  IQ1_S: 24,
  IQ4_NL: 25,
  IQ3_S: 26,
  IQ3_M: 27,
  IQ2_S: 28,
  IQ2_M: 29,
  IQ4_XS: 30,
  IQ1_M: 31,
  BF16: 32,
  TQ1_0: 36,
  TQ2_0: 37,
  MXFP4_MOE: 38,
  Q1_0: 40,
  Q2_0: 41,
} as const;

export type LlamaFileType = keyof typeof LLAMA_FILE_TYPES;

export interface LlamaRunOptions extends OracleOptions {
  /** First position whose logits are wanted. Default 0. */
  readonly from?: number;
  /** Default 1: more pays only on idle cores, because ggml's threads wait by spinning. */
  readonly threads?: number;
  /** Lets the CPU backend rearrange quantized weights for faster kernels, as llama.cpp does by default. Default false. */
  readonly repack?: boolean;
}

export interface LlamaLogits {
  readonly vocabulary: number;
  /** For each window, `[window.length - from, vocabulary]` row-major. Row r is what the model says after token `from + r`. */
  readonly windows: readonly Float32Array[];
}

/** Logits of several windows, each from an empty cache. Memory: all logits at once; for losses use `llamaLosses`. */
export async function llamaWindowLogits(
  path: string,
  windows: readonly (readonly number[])[],
  options: LlamaRunOptions = {},
): Promise<LlamaLogits> {
  const from = options.from ?? 0;
  const { result, binary } = await askWorker('logits', runInput(path, windows, from, options), options);
  const { vocabulary } = result as { vocabulary: number };
  const values = floats(binary);
  let start = 0;
  return {
    vocabulary,
    windows: windows.map((window) => {
      const end = start + Math.max(0, window.length - from) * vocabulary;
      const logits = values.subarray(start, end);
      start = end;
      return logits;
    }),
  };
}

/** Logits of one window, `[tokens.length - from, vocabulary]` row-major. */
export async function llamaLogits(
  path: string,
  tokens: readonly number[],
  options: LlamaRunOptions = {},
): Promise<Float32Array> {
  return (await llamaWindowLogits(path, [tokens], options)).windows[0];
}

/** An encoder's last hidden states, `[window.length, embedding]` row-major for each window, without pooling. */
export async function llamaEmbeddings(
  path: string,
  windows: readonly (readonly number[])[],
  options: Omit<LlamaRunOptions, 'from'> = {},
): Promise<Float32Array[]> {
  const { result, binary } = await askWorker('embeddings', runInput(path, windows, 0, options), options);
  const { width } = result as { width: number };
  const values = floats(binary);
  let start = 0;
  return windows.map(({ length }) => {
    const part = values.subarray(start, start + length * width);
    start += length * width;
    return part;
  });
}

/**
 * Negative log-likelihood, in nats, of each token of each window given those before it in the window. The first token of
 * a window has none, so a window gives `length - max(1, from)` losses: entry i belongs to token `max(1, from) + i`.
 * Computed in float64 from llama.cpp's logits; the mean over all entries is the log of the perplexity.
 */
export async function llamaLosses(
  path: string,
  windows: readonly (readonly number[])[],
  options: LlamaRunOptions = {},
): Promise<Float64Array[]> {
  const from = Math.max(1, options.from ?? 1);
  const { binary } = await askWorker('nll', runInput(path, windows, from, options), options);
  const bytes = binary ?? new Uint8Array(0);
  const values = new Float64Array(new Uint8Array(bytes).buffer);
  let start = 0;
  return windows.map((window) => {
    const losses = values.slice(start, start + Math.max(0, window.length - from));
    start += losses.length;
    return losses;
  });
}

export interface LlamaSpeedOptions extends OracleOptions {
  /** Default 128. They are read in one batch, with logits of the last alone. */
  readonly promptTokens?: number;
  /** Default 64. Each is the likeliest after the one before. */
  readonly decodeTokens?: number;
  /** Default 1. */
  readonly threads?: number;
  /** Rearranges quantized weights for the CPU's faster kernels. Default true, as in llama.cpp. */
  readonly repack?: boolean;
  /** Timed runs, of which the best counts; one more comes first to warm up. Default 3. */
  readonly repeats?: number;
}

export interface LlamaSpeed {
  readonly promptTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
}

/**
 * How fast llama.cpp reads a prompt and goes on from it, with its own defaults of flash attention and cache type. Loading the
 * file is not in the time.
 */
export async function llamaSpeed(path: string, options: LlamaSpeedOptions = {}): Promise<LlamaSpeed> {
  const { promptTokens = 128, decodeTokens = 64, repack = true, repeats = 3 } = options;
  const { threads = ORACLE_DEFAULTS.threads } = options;
  const input = { path, promptTokens, decodeTokens, threads, repack, repeats };
  return (await askWorker('speed', input, options)).result as LlamaSpeed;
}

export interface LlamaTokenizeOptions extends OracleOptions {
  /** Adds BOS and EOS where the model asks for them. Default false. */
  readonly addSpecial?: boolean;
  /** Reads `<|endoftext|>` and its like in the text as one token. Default false. */
  readonly parseSpecial?: boolean;
}

/** Token ids of each text. Only the vocabulary is loaded. */
export async function llamaTokenizeAll(
  path: string,
  texts: readonly string[],
  options: LlamaTokenizeOptions = {},
): Promise<number[][]> {
  const { addSpecial = false, parseSpecial = false } = options;
  const { result } = await askWorker('tokenize', { path, texts, addSpecial, parseSpecial }, options);
  return (result as { tokens: number[][] }).tokens;
}

/** Token ids of one text. */
export async function llamaTokenize(path: string, text: string, options: LlamaTokenizeOptions = {}): Promise<number[]> {
  return (await llamaTokenizeAll(path, [text], options))[0];
}

/** The text of each sequence of token ids, special tokens included. */
export async function llamaDetokenizeAll(
  path: string,
  sequences: readonly (readonly number[])[],
  options: OracleOptions = {},
): Promise<string[]> {
  const input = { path, sequences, removeSpecial: false, unparseSpecial: true };
  const { result } = await askWorker('detokenize', input, options);
  return (result as { texts: string[] }).texts;
}

export interface LlamaVocabulary {
  readonly size: number;
  /** -1 where the model has none. */
  readonly bos: number;
  readonly eos: number;
  readonly addBos: boolean;
  readonly addEos: boolean;
  /** By id, as stored in the file. */
  readonly tokens: readonly string[];
}

export async function llamaVocabulary(path: string, options: OracleOptions = {}): Promise<LlamaVocabulary> {
  return (await askWorker('vocabulary', { path }, options)).result as LlamaVocabulary;
}

/** What llama.cpp says of a model that it loaded. */
export interface LlamaModelDescription {
  readonly description: string;
  readonly parameters: number;
  readonly tensorBytes: number;
  readonly layers: number;
  readonly embedding: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly trainedContext: number;
  readonly vocabulary: number;
}

/** Loads a model and describes it. Rejects with `FORMAT` where llama.cpp refuses it or aborts. */
export async function llamaDescribe(path: string, options: OracleOptions = {}): Promise<LlamaModelDescription> {
  return (await askWorker('describe', { path }, options)).result as LlamaModelDescription;
}

export interface LlamaQuantizeOptions extends OracleOptions {
  /** Default 2. */
  readonly threads?: number;
  /** Importances by tensor name (`blk.0.attn_q.weight`), one a column: mean squared inputs. Finite, not all zero. */
  readonly imatrix?: ReadonlyMap<string, Float32Array>;
  /** Every quantized tensor in the type of the file: no mixture. Default false. */
  readonly pure?: boolean;
  /** Accepts input that is quantized already. Default false. */
  readonly allowRequantize?: boolean;
  readonly outputType?: OracleGgmlType;
  readonly embeddingType?: OracleGgmlType;
}

/** Quantizes a GGUF file with `llama_model_quantize`, as the llama-quantize tool does. */
export async function llamaQuantize(
  inPath: string,
  outPath: string,
  fileType: LlamaFileType,
  options: LlamaQuantizeOptions = {},
): Promise<void> {
  const { imatrix, outputType, embeddingType } = options;
  const entries: { name: string; offset: number; length: number }[] = [];
  const chunks: Uint8Array[] = [];
  let offset = 0;
  for (const [name, values] of imatrix ?? []) {
    if (!values.every((v) => v >= 0 && Number.isFinite(v)) || values.every((v) => v === 0)) {
      throw new HalftoneError('RANGE', `importances of ${name} must be finite, not negative and not all zero`, {
        where: 'llama-cpp-oracle',
        details: { name },
      });
    }
    entries.push({ name, offset, length: values.length });
    chunks.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    offset += values.byteLength;
  }
  const input = {
    inPath,
    outPath,
    ftype: LLAMA_FILE_TYPES[fileType],
    threads: options.threads ?? ORACLE_DEFAULTS.quantizeThreads,
    pure: options.pure ?? false,
    allowRequantize: options.allowRequantize ?? false,
    outputType: outputType && ORACLE_GGML_TYPES[outputType],
    embeddingType: embeddingType && ORACLE_GGML_TYPES[embeddingType],
    imatrix: imatrix && entries,
  };
  await askWorker('quantize', input, options, imatrix === undefined ? {} : { 'imatrix.bin': Buffer.concat(chunks) });
}

/** A GGUF file as ggml's own reader sees it. */
export interface GgufListing {
  readonly version: number;
  readonly alignment: number;
  readonly dataOffset: number;
  /** 64-bit integers beyond 2^53 and floats that are not finite come as strings. Array types end in `[]`. */
  readonly keys: readonly { readonly key: string; readonly type: string; readonly value: unknown }[];
  readonly tensors: readonly {
    readonly name: string;
    /** As ggml names it: `q4_K`, `f32`. */
    readonly type: string;
    /** Four dimensions, the reverse of the shape, padded with ones. */
    readonly ne: readonly number[];
    readonly offset: number;
    readonly byteLength: number;
  }[];
}

/** Lists a file with `gguf_init_from_file`. Rejects with `FORMAT` where ggml refuses it. */
export async function ggufListing(path: string, options: OracleOptions = {}): Promise<GgufListing> {
  return (await askWorker('gguf', { path }, options)).result as GgufListing;
}

function runInput(
  path: string,
  windows: readonly (readonly number[])[],
  from: number,
  options: LlamaRunOptions,
): unknown {
  return { path, windows, from, threads: options.threads ?? ORACLE_DEFAULTS.threads, repack: options.repack ?? false };
}

function floats(binary: Uint8Array | undefined): Float32Array {
  const bytes = binary ?? new Uint8Array(0);
  return bytes.byteOffset % 4 === 0
    ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
    : new Float32Array(new Uint8Array(bytes).buffer);
}
