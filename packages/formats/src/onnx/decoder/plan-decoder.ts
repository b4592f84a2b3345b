import { DTYPES, HalftoneError, type JsonObject } from '@halftone/tensor';
import { alignUp, tensorElements } from '../../internal/tensor-size.js';
import type { FileLayout, TensorPlacement } from '../../tensor-writer.js';
import { encodeOnnxModel } from '../encode-model.js';
import type { OnnxInitializer, OnnxModel, OnnxValue } from '../model.js';
import { sequenceValues } from './attention.js';
import { findWeights, type OnnxDecoderWeights, WHERE } from './decoder-weights.js';
import { type DecoderDescription, describeDecoder } from './describe-decoder.js';
import { gpt2Rows } from './gpt2-graph.js';
import { type GraphBuilder, graphBuilder, type PlannedInitializer } from './graph-builder.js';
import { type LayerContext, linear } from './layers.js';
import { llamaRows } from './llama-graph.js';
import type { OnnxPart, OnnxWeightMode } from './parts.js';

export interface OnnxDecoderOptions {
  /**
   * `matmul-nbits`: ONNX Runtime's operator, which multiplies by the codes as they are. `qdq`: ONNX's own DequantizeLinear before a
   * plain product, which other runtimes know too and which is often decoded when the model is loaded.
   */
  readonly quantized?: OnnxWeightMode;
  /** `f32` widens all other weights, exactly. `stored` keeps f16 and bf16 in the file and widens them when they are used. */
  readonly floats?: 'f32' | 'stored';
  /** Of MatMulNBits: 0 leaves it to the runtime, 1 computes in f32, 4 rounds activations to 8 bits, which is faster. */
  readonly accuracyLevel?: 0 | 1 | 2 | 3 | 4;
  /** Positions of the rotary tables. Default: the context length of the configuration. GPT-2 has as many as it learned. */
  readonly positions?: number;
  /** False when GPT-2's linear weights are `[out, in]` already, as `ggufAsHuggingFace` shows them. Default true. */
  readonly conv1dTransposed?: boolean;
  /** Default `model.onnx`. The weights are in `<fileName>_data`, where transformers.js looks for them. */
  readonly fileName?: string;
}

export const ONNX_DECODER_DEFAULTS = {
  quantized: 'matmul-nbits',
  floats: 'f32',
  accuracyLevel: 0,
  conv1dTransposed: true,
  fileName: 'model.onnx',
} as const;

/** Two files: the graph, and all weights beside it. */
export interface OnnxDecoderPlan {
  readonly fileName: string;
  /** Bytes of the graph's file. */
  readonly graph: Uint8Array;
  readonly dataFileName: string;
  /** Where each initializer lies in the file of weights. */
  readonly data: FileLayout;
  /** What each initializer is made from, by its name. */
  readonly parts: ReadonlyMap<string, OnnxPart>;
}

/** The release that first had all operators used here, and the IR version that goes with it. */
const OPSET = 21;
const IR_VERSION = 10;

/**
 * Plans the ONNX form of a whole decoder from its `config.json` and its weights in Hugging Face naming: llama, mistral, qwen2,
 * qwen3, gpt2. A pure function; reads no weights.
 *
 * Inputs: `input_ids` and `position_ids` `[batch, new]`, `attention_mask` `[batch, past + new]` (int64), and for each block
 * `past_key_values.N.key` and `.value` `[batch, kvHeads, past, headDim]` (float32; `past` may be 0). Outputs: `logits`
 * `[batch, new, vocabulary]` and `present.N.key`, `present.N.value`: the names that Optimum gives and transformers.js expects.
 *
 * The graph has operators of ONNX itself (set 21), MatMulNBits excepted: they run in every build of ONNX Runtime, which fuses the
 * usual patterns. Its own attention operators would be faster on GPUs, and differ from build to build.
 *
 * Throws `UNSUPPORTED` for models, rotary scalings and quantized weights that cannot be exported exactly, `FORMAT` and `SHAPE` for
 * weights that are missing or do not fit the configuration, `RANGE` for bad options.
 */
export function planOnnxDecoder(
  config: JsonObject,
  weights: OnnxDecoderWeights,
  options: OnnxDecoderOptions = {},
): OnnxDecoderPlan {
  const { quantized, floats, accuracyLevel, conv1dTransposed, fileName } = { ...ONNX_DECODER_DEFAULTS, ...options };
  const description = describeDecoder(config);
  refuseVariants(config);
  const positions = options.positions ?? description.sizes.context;
  if (!Number.isSafeInteger(positions) || positions < 1 || positions > 2 ** 31) {
    throw new HalftoneError('RANGE', `positions is ${positions}; it must be a whole number from 1 to 2^31`, {
      where: WHERE,
    });
  }
  const graph = graphBuilder();
  const found = findWeights(description, weights, conv1dTransposed);
  const context: LayerContext = { graph, weights: found, mode: quantized, floats, accuracyLevel, conv1dTransposed };
  buildGraph(context, description, positions);
  const dataFileName = `${fileName}_data`;
  const { data, initializers } = placeWeights(graph.weights, dataFileName);
  const model = decoderModel(graph, description, String(config.model_type));
  return {
    fileName,
    graph: encodeOnnxModel(model, [...graph.constants, ...initializers]),
    dataFileName,
    data,
    parts: new Map(graph.weights.map(({ name, part }) => [name, part])),
  };
}

/** Settings that the description does not carry because GGUF has no words for them. */
function refuseVariants(config: JsonObject): void {
  const rope = config.partial_rotary_factor ?? 1;
  const refused = [
    ...(config.scale_attn_by_inverse_layer_idx === true ? ['scale_attn_by_inverse_layer_idx'] : []),
    ...(config.scale_attn_weights === false ? ['scale_attn_weights: false'] : []),
    ...(rope === 1 ? [] : [`partial_rotary_factor: ${String(rope)}`]),
  ];
  if (refused.length === 0) return;
  throw new HalftoneError('UNSUPPORTED', `config.json: ${refused.join(', ')} is not exported to ONNX`, {
    where: WHERE,
    details: { refused },
  });
}

function buildGraph(context: LayerContext, description: DecoderDescription, positions: number): void {
  const { graph, weights } = context;
  const { architecture, sizes, slidingWindow } = description;
  const sequence = sequenceValues(graph, sizes, slidingWindow);
  const gpt2 = architecture === 'gpt2';
  const rows = gpt2 ? gpt2Rows(context, description, sequence) : llamaRows(context, description, sequence, positions);
  const embedding = gpt2 ? 'transformer.wte' : 'model.embed_tokens';
  const head = linear(context, 'head', weights.has('lm_head.weight') ? 'lm_head' : embedding, rows);
  graph.node('Reshape', 'logits', [head, sequence.logitShape]);
}

const ALIGNMENT = 64;
/** A memory page, from which runtimes can map weights without copying them. */
const PAGE = 4096;

function placeWeights(weights: readonly PlannedInitializer[], location: string) {
  const tensors: TensorPlacement[] = [];
  const initializers: OnnxInitializer[] = [];
  let end = 0;
  for (const { name, dtype, shape } of weights) {
    const byteLength = storedBytes(dtype, shape);
    const offset = alignUp(end, byteLength >= PAGE ? PAGE : ALIGNMENT);
    tensors.push({ name, dtype, shape, offset, byteLength });
    initializers.push({ name, dtype, shape, data: { location, offset, length: byteLength } });
    end = offset + byteLength;
  }
  const data: FileLayout = { header: new Uint8Array(0), tensors, byteLength: end };
  return { data, initializers };
}

/** ONNX lays elements below 8 bits densely, across the ends of rows. */
function storedBytes(dtype: PlannedInitializer['dtype'], shape: readonly number[]): number {
  return Math.ceil((tensorElements('a weight', shape, WHERE) * DTYPES[dtype].bits) / 8);
}

function decoderModel(graph: GraphBuilder, { sizes }: DecoderDescription, name: string): OnnxModel {
  const batch = 'batch_size';
  const fresh = 'sequence_length';
  const past = 'past_sequence_length';
  const all = 'total_sequence_length';
  const cache = (prefix: string, length: string): OnnxValue[] =>
    Array.from({ length: sizes.blocks }, (_, block) => block).flatMap((block) =>
      ['key', 'value'].map((part) => ({
        name: `${prefix}.${block}.${part}`,
        dtype: 'f32' as const,
        shape: [batch, sizes.kvHeads, length, sizes.headDim],
      })),
    );
  return {
    irVersion: IR_VERSION,
    producerName: 'halftone',
    producerVersion: '',
    domain: '',
    modelVersion: 0,
    docString: '',
    opsets: new Map([
      ['', OPSET],
      ['com.microsoft', 1],
    ]),
    metadata: new Map(),
    graph: {
      name,
      nodes: graph.nodes,
      inputs: [
        { name: 'input_ids', dtype: 'i64', shape: [batch, fresh] },
        { name: 'attention_mask', dtype: 'i64', shape: [batch, all] },
        { name: 'position_ids', dtype: 'i64', shape: [batch, fresh] },
        ...cache('past_key_values', past),
      ],
      outputs: [{ name: 'logits', dtype: 'f32', shape: [batch, fresh, sizes.vocabulary] }, ...cache('present', all)],
    },
  };
}
