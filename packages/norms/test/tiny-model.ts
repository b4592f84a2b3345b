import { editedTensor } from '@halftone/norms';
import {
  type BlockGraph,
  type Edit,
  type LinearNode,
  type ModelGraph,
  type NormNode,
  type Tensor,
  tensor,
} from '@halftone/tensor';

export const HIDDEN = 6;
export const VOCABULARY = 11;
const INNER = 9;
const EPSILON = 1e-3;

export interface TinyOptions {
  readonly norm: 'rms' | 'layer';
  readonly biases: boolean;
  readonly transposed?: boolean;
  readonly tied?: boolean;
  readonly queryNorm?: boolean;
}

export type Tensors = Map<string, Tensor<Float32Array>>;

/** Two blocks of an attention-like mixer (which squashes and averages over the earlier tokens) and a gated MLP. */
export function tinyGraph(options: TinyOptions): ModelGraph {
  return {
    blocks: [0, 1].map((index) => tinyBlock(index, options)),
    embedding: 'embedding.weight',
    positionEmbedding: 'position.weight',
    finalNorm: normNode('final.norm', 'final', options, 'residual', 'head.input'),
    head: {
      name: 'head',
      weight: options.tied ? 'embedding.weight' : 'lm_head.weight',
      inFeatures: HIDDEN,
      outFeatures: VOCABULARY,
      input: 'head.input',
      output: 'logits',
    },
    tiedHead: options.tied ?? false,
  };
}

function tinyBlock(index: number, options: TinyOptions): BlockGraph {
  const linear = (
    name: string,
    inFeatures: number,
    outFeatures: number,
    input: string,
    output: string,
  ): LinearNode => ({
    name,
    weight: `${index}.${name}.weight`,
    ...(options.biases ? { bias: `${index}.${name}.bias` } : {}),
    ...(options.transposed ? { storedTransposed: true } : {}),
    inFeatures,
    outFeatures,
    input,
    output,
  });
  const query = options.queryNorm
    ? [
        {
          ...normNode('attention.queryNorm', `${index}.queryNorm`, options, 'attention.value', 'attention.normed'),
          features: HIDDEN,
        },
      ]
    : [];
  return {
    index,
    norms: [
      normNode('attention.norm', `${index}.attention.norm`, options, 'residual', 'attention.input'),
      ...query,
      normNode('mlp.norm', `${index}.mlp.norm`, options, 'residual', 'mlp.input'),
    ],
    linears: [
      linear('attention.value', HIDDEN, HIDDEN, 'attention.input', 'attention.value'),
      linear('attention.output', HIDDEN, HIDDEN, 'attention.context', 'attention.result'),
      linear('mlp.gate', HIDDEN, INNER, 'mlp.input', 'mlp.gate'),
      linear('mlp.up', HIDDEN, INNER, 'mlp.input', 'mlp.up'),
      linear('mlp.down', INNER, HIDDEN, 'mlp.hidden', 'mlp.result'),
    ],
    otherReaders: [
      'residual',
      'attention.value',
      'attention.normed',
      'attention.result',
      'mlp.gate',
      'mlp.up',
      'mlp.result',
    ],
    residualWriters: ['attention.output', 'mlp.down'],
  };
}

function normNode(
  name: string,
  stored: string,
  { norm, biases }: TinyOptions,
  input: string,
  output: string,
): NormNode {
  return {
    name,
    kind: norm,
    gain: `${stored}.weight`,
    ...(norm === 'layer' && biases ? { bias: `${stored}.bias` } : {}),
    epsilon: EPSILON,
    features: HIDDEN,
    input,
    output,
  };
}

/** Values between -1 and 1, the same on every run. */
export function randomTensors(graph: ModelGraph): Tensors {
  const tensors: Tensors = new Map();
  let state = 12345;
  const add = (name: string | undefined, shape: readonly number[], shift = 0): void => {
    if (name === undefined || tensors.has(name)) return;
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      data[i] = shift + (state / 2 ** 31 - 1);
    }
    tensors.set(name, tensor(data, shape));
  };
  const addNodes = (norms: readonly NormNode[], linears: readonly LinearNode[]): void => {
    for (const { gain, bias, features } of norms) {
      add(gain, [features], 1.5);
      add(bias, [features]);
    }
    for (const { weight, bias, inFeatures, outFeatures, storedTransposed } of linears) {
      add(weight, storedTransposed ? [inFeatures, outFeatures] : [outFeatures, inFeatures]);
      add(bias, [outFeatures]);
    }
  };
  add(graph.embedding, [VOCABULARY, HIDDEN], 0.7);
  add(graph.positionEmbedding, [8, HIDDEN], -0.4);
  for (const block of graph.blocks) addNodes(block.norms, block.linears);
  addNodes([graph.finalNorm], [graph.head]);
  return tensors;
}

/** All tensors after a plan. */
export async function editAll(tensors: Tensors, edits: readonly Edit[]): Promise<Tensors> {
  const names = new Set([...tensors.keys(), ...edits.map((edit) => edit.tensor)]);
  const result: Tensors = new Map();
  for (const name of names) {
    const edited = await editedTensor(name, edits, (operand) => tensors.get(operand));
    if (edited) result.set(name, edited);
  }
  return result;
}

/** Logits of each token of a sequence, in float64. Also checks that the graph names every tensor it needs. */
export function forward(graph: ModelGraph, tensors: Tensors, tokens: readonly number[]): number[][] {
  const data = (name: string): Float32Array => {
    const found = tensors.get(name);
    if (!found) throw new Error(`no tensor ${name}`);
    return found.data;
  };
  const norm = ({ kind, gain, bias, epsilon }: NormNode, x: number[]): number[] => {
    const mean = kind === 'layer' ? x.reduce((a, b) => a + b, 0) / x.length : 0;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    return x.map((v, i) => ((v - mean) / Math.sqrt(variance + epsilon)) * data(gain)[i] + (bias ? data(bias)[i] : 0));
  };
  const linear = ({ weight, bias, inFeatures, outFeatures, storedTransposed }: LinearNode, x: number[]): number[] => {
    const W = data(weight);
    return Array.from({ length: outFeatures }, (_, o) => {
      let sum = bias ? data(bias)[o] : 0;
      for (let i = 0; i < inFeatures; i++)
        sum += x[i] * (storedTransposed ? W[i * outFeatures + o] : W[o * inFeatures + i]);
      return sum;
    });
  };
  const rows = (name: string, row: number): number[] => [...data(name).subarray(row * HIDDEN, (row + 1) * HIDDEN)];
  const add = (a: number[], b: number[]): number[] => a.map((v, i) => v + b[i]);

  let hidden = tokens.map((token, i) => add(rows(graph.embedding, token), rows(graph.positionEmbedding as string, i)));
  for (const block of graph.blocks) {
    const linears = new Map(block.linears.map((node) => [node.name, node]));
    const norms = new Map(block.norms.map((node) => [node.name, node]));
    const run = (name: string, x: number[]) => linear(linears.get(name) as LinearNode, x);
    const values = hidden.map((x) => {
      const value = run('attention.value', norm(norms.get('attention.norm') as NormNode, x));
      const query = norms.get('attention.queryNorm');
      return (query ? norm(query, value) : value).map(Math.tanh);
    });
    hidden = hidden.map((x, t) => {
      const past = values.slice(0, t + 1);
      const context = x.map((_, i) => past.reduce((sum, value) => sum + value[i], 0) / past.length);
      return add(x, run('attention.output', context));
    });
    hidden = hidden.map((x) => {
      const input = norm(norms.get('mlp.norm') as NormNode, x);
      const up = run('mlp.up', input);
      return add(
        x,
        run(
          'mlp.down',
          run('mlp.gate', input).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]),
        ),
      );
    });
  }
  return hidden.map((x) => linear(graph.head, norm(graph.finalNorm, x)));
}

export function largestDifference(a: number[][], b: number[][]): number {
  return Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i][j]))));
}
