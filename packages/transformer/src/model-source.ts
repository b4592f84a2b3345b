import {
  type Checkpoint,
  HalftoneError,
  type LinearNode,
  type ModelGraph,
  type NormNode,
  sameShape,
} from '@halftone/tensor';
import { ARCHITECTURES } from './architectures/index.js';
import { type ModelConfig, parseConfig, parseConfigJson } from './config.js';
import { type JsonObject, tokenIds } from './internal/config-fields.js';
import { checkTokenizer } from './internal/tokenizer-size.js';

/** The contents of tokenizer.json and tokenizer_config.json, parsed. */
export interface TokenizerFiles {
  readonly tokenizerJson: Readonly<Record<string, unknown>>;
  readonly tokenizerConfig?: Readonly<Record<string, unknown>>;
  /** Jinja text, from chat_template.jinja or GGUF metadata; it goes before `tokenizerConfig.chat_template`. */
  readonly chatTemplate?: string;
}

/** A model that is still in its files: what it is, and where its weights can be read. */
export interface ModelSource {
  readonly config: ModelConfig;
  /** As it was read, for writers; without `quantization_config` where a layout was read by it. */
  readonly configJson: Readonly<Record<string, unknown>>;
  /** generation_config.json as it was read, for writers. */
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  /** Tensors in Hugging Face naming. */
  readonly checkpoint: Checkpoint;
  readonly graph: ModelGraph;
  readonly tokenizer?: TokenizerFiles;
  /** Some linear weights are stored `[in, out]` (`storedTransposed` in the graph). */
  readonly weightsTransposed: boolean;
  close(): Promise<void>;
}

export interface ModelSourceInit {
  /** config.json, as text or parsed. */
  readonly configJson: string | Readonly<Record<string, unknown>>;
  readonly checkpoint: Checkpoint;
  readonly tokenizer?: TokenizerFiles;
  /** generation_config.json, parsed. Its `eos_token_id` goes before the config's, as in transformers. */
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  /** False when the checkpoint holds GPT-2's Conv1D weights as `[out, in]`, as GGUF does. Default true. */
  readonly conv1dTransposed?: boolean;
}

const WHERE = 'modelSource';

/**
 * Joins a config and a checkpoint, and verifies that every tensor of the graph is there with the right shape. Reads no weights.
 *
 * Names may lack the prefix of the whole model (`model.`, `transformer.`). Tensors that the graph does not use are ignored.
 * Throws what `parseConfig` throws, `FORMAT` listing missing tensors, `SHAPE` listing wrong ones, `UNSUPPORTED` for weights
 * that are packed integers, and `FORMAT` when the tokenizer has ids that the embedding lacks.
 */
export function modelSource(init: ModelSourceInit): ModelSource {
  const { checkpoint, tokenizer, generationConfig, conv1dTransposed = true } = init;
  const configJson = floatConfig(parseConfigJson(init.configJson), checkpoint);
  const config = withEndTokens(parseConfig(configJson), generationConfig);
  const architecture = ARCHITECTURES[config.architecture];
  const prefixed = architecture.graph(config, architecture.prefix);
  const bare = architecture.graph(config, '');
  const has = (name: string) => checkpoint.tensors.has(name) || checkpoint.quantized?.has(name) === true;
  const found = !has(prefixed.embedding) && has(bare.embedding) ? bare : prefixed;
  const graph = conv1dTransposed ? found : withPlainLinears(found);
  checkTensors(graph, config, checkpoint);
  if (tokenizer !== undefined) checkTokenizer(tokenizer.tokenizerJson, config.vocabSize);
  return {
    config,
    configJson,
    generationConfig,
    checkpoint,
    graph,
    tokenizer,
    weightsTransposed: graph.blocks.some((block) => block.linears.some((linear) => linear.storedTransposed === true)),
    close: () => checkpoint.close(),
  };
}

/** Every tensor that a graph names, with the shape it must have in the checkpoint. */
export function graphTensors(graph: ModelGraph, config: ModelConfig): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const addNorm = (norm: NormNode) => {
    shapes.set(norm.gain, [norm.features]);
    if (norm.bias !== undefined) shapes.set(norm.bias, [norm.features]);
  };
  const addLinear = (linear: LinearNode) => {
    const { outFeatures, inFeatures } = linear;
    shapes.set(linear.weight, linear.storedTransposed ? [inFeatures, outFeatures] : [outFeatures, inFeatures]);
    if (linear.bias !== undefined) shapes.set(linear.bias, [outFeatures]);
  };
  shapes.set(graph.embedding, [config.vocabSize, config.hiddenSize]);
  if (graph.positionEmbedding !== undefined)
    shapes.set(graph.positionEmbedding, [config.contextLength, config.hiddenSize]);
  for (const block of graph.blocks) {
    block.norms.forEach(addNorm);
    block.linears.forEach(addLinear);
  }
  addNorm(graph.finalNorm);
  addLinear(graph.head);
  return shapes;
}

/** Of a checkpoint whose layout has been read, the config of the model itself: how weights were stored says nothing about it. */
function floatConfig(configJson: JsonObject, checkpoint: Checkpoint): JsonObject {
  if (checkpoint.quantized === undefined) return configJson;
  const { quantization_config: _, quantization: __, ...rest } = configJson;
  return rest;
}

function withEndTokens(config: ModelConfig, generationConfig: ModelSourceInit['generationConfig']): ModelConfig {
  if (generationConfig === undefined) return config;
  const eosTokens = tokenIds(generationConfig, 'eos_token_id', config.vocabSize, 'generation_config.json');
  return eosTokens.length > 0 ? { ...config, eosTokens } : config;
}

function withPlainLinears(graph: ModelGraph): ModelGraph {
  return {
    ...graph,
    blocks: graph.blocks.map((block) => ({
      ...block,
      linears: block.linears.map(({ storedTransposed: _, ...linear }) => linear),
    })),
  };
}

function checkTensors(graph: ModelGraph, config: ModelConfig, checkpoint: Checkpoint): void {
  const missing: string[] = [];
  const wrong: string[] = [];
  const integers: string[] = [];
  const linears = graph.blocks.flatMap((block) => block.linears);
  const conv1d = new Set(linears.filter((linear) => linear.storedTransposed).map((linear) => linear.weight));
  for (const [name, shape] of graphTensors(graph, config)) {
    const quantized = checkpoint.quantized?.get(name);
    const tensor = quantized ?? checkpoint.tensors.get(name);
    // Layouts keep every linear weight as [out, in].
    const expected = quantized && conv1d.has(name) ? [...shape].reverse() : shape;
    if (tensor === undefined) missing.push(name);
    else if (!sameShape(tensor.shape, expected)) wrong.push(`${name} is [${tensor.shape}], expected [${expected}]`);
    else if (tensor.kind === 'lazy' && /^([iu]\d|bool)/.test(tensor.dtype)) integers.push(`${name} is ${tensor.dtype}`);
  }
  if (missing.length > 0) {
    const packed = missing.some((name) => checkpoint.tensors.has(name.replace(/weight$/, 'qweight')));
    const reason = packed
      ? '; it holds packed quantized weights, open it with the layout that reads them'
      : '; is config.json of this model?';
    throw new HalftoneError('FORMAT', `the checkpoint lacks ${listed(missing)}${reason}`, {
      where: WHERE,
      details: { missing },
    });
  }
  if (wrong.length > 0) {
    throw new HalftoneError('SHAPE', `${listed(wrong)}; config.json does not fit the checkpoint`, {
      where: WHERE,
      details: { wrong },
    });
  }
  if (integers.length > 0) {
    throw new HalftoneError('UNSUPPORTED', `${listed(integers)}; weights must be floats or ggml blocks`, {
      where: WHERE,
      details: { integers },
    });
  }
}

function listed(items: readonly string[]): string {
  const shown = items.slice(0, 5).join(', ');
  return items.length > 5 ? `${shown} and ${items.length - 5} more` : shown;
}
