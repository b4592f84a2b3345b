import { HalftoneError, type JsonObject } from '@halftone/tensor';
import type { GgufArchitecture, ModelSizes } from '../../gguf-model/architectures/form.js';
import { GGUF_ARCHITECTURE_OF_MODEL_TYPE } from '../../gguf-model/architectures.js';
import { describeConfig } from '../../gguf-model/describe-config.js';
import { WHERE } from './decoder-weights.js';

const EXPORTED = ['llama', 'qwen2', 'qwen3', 'gpt2'] as const satisfies readonly GgufArchitecture[];

/** What the graph of a decoder is built from. */
export interface DecoderDescription {
  /** `llama` stands for mistral too. */
  readonly architecture: (typeof EXPORTED)[number];
  readonly sizes: ModelSizes;
  readonly tiedHead: boolean;
  /** Of all norms. */
  readonly epsilon: number;
  readonly ropeTheta: number;
  /** What the angles of each pair of channels are divided by, `[headDim / 2]`; undefined for plain rotary positions. */
  readonly ropeDivisors?: ArrayLike<number>;
  /** Tokens that a token sees, itself included. */
  readonly slidingWindow?: number;
}

/**
 * Reads `config.json` as GGUF conversion does. Throws `UNSUPPORTED` for other architectures and for rotary scaling whose strength
 * changes with the length of the text (yarn), `FORMAT` for keys that are missing or absurd.
 */
export function describeDecoder(config: JsonObject): DecoderDescription {
  const architecture = GGUF_ARCHITECTURE_OF_MODEL_TYPE[String(config.model_type)];
  const exported = EXPORTED.find((name) => name === architecture);
  if (exported === undefined) return refuse(`model_type '${String(config.model_type)}'`);
  const { sizes, tiedHead, keys, extraTensors } = describeConfig(config);
  const setting = (key: string) => keys.find((entry) => entry.key === `${architecture}.${key}`)?.value;
  const scaling = setting('rope.scaling.type');
  if (scaling !== undefined && scaling !== 'linear') refuse(`rotary scaling '${String(scaling)}'`);
  const factor = setting('rope.scaling.factor') as number | undefined;
  const factors = extraTensors.find((tensor) => tensor.ggufName === 'rope_freqs.weight')?.values;
  const ropeDivisors = factors ?? (factor === undefined ? undefined : new Float64Array(sizes.headDim / 2).fill(factor));
  const epsilon = setting('attention.layer_norm_rms_epsilon') ?? setting('attention.layer_norm_epsilon');
  const slidingWindow = setting('attention.sliding_window') as number | undefined;
  return {
    architecture: exported,
    sizes,
    tiedHead,
    epsilon: epsilon as number,
    ropeTheta: (setting('rope.freq_base') ?? 10_000) as number,
    ...(ropeDivisors === undefined ? {} : { ropeDivisors }),
    ...(slidingWindow === undefined ? {} : { slidingWindow }),
  };
}

function refuse(what: string): never {
  throw new HalftoneError('UNSUPPORTED', `config.json: ${what} is not exported to ONNX`, { where: WHERE });
}
