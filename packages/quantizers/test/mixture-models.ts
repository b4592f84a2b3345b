/** Tiny models that reach every rule of the mixtures, and how llama.cpp itself assigns their types. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ggufLayout } from '@halftone/formats';
import { ggufListing, type LlamaFileType, llamaQuantize } from '@halftone/llama-cpp-oracle';
import type { MixtureModel, MixtureTensor } from '../src/index.js';

export interface MixtureCase {
  readonly name: string;
  readonly architecture: 'llama' | 'gpt2';
  readonly model: MixtureModel;
  readonly tensors: readonly (MixtureTensor & { readonly name: string })[];
}

interface Sizes {
  readonly columns: number;
  readonly hidden: number;
}

function llama(name: string, model: MixtureModel, { columns, hidden }: Sizes): MixtureCase {
  const rows = 4;
  const tensors: (MixtureTensor & { readonly name: string })[] = [
    { name: 'token_embd.weight', role: 'token-embedding', shape: [32, columns] },
    { name: 'output_norm.weight', role: 'norm', shape: [columns] },
  ];
  if (!model.tiedHead) tensors.push({ name: 'output.weight', role: 'output', shape: [32, columns] });
  const experts = model.experts ?? 0;
  const lead = experts > 0 ? [experts] : [];
  const suffix = experts > 0 ? '_exps' : '';
  for (let layer = 0; layer < model.layers; layer++) {
    const add = (tensor: string, role: MixtureTensor['role'], shape: readonly number[]) =>
      tensors.push({ name: `blk.${layer}.${tensor}.weight`, role, shape, layer });
    add('attn_norm', 'norm', [columns]);
    add('attn_q', 'attention.query', [rows, columns]);
    add('attn_k', 'attention.key', [rows, columns]);
    add('attn_v', 'attention.value', [rows, columns]);
    add('attn_output', 'attention.output', [rows, columns]);
    add('ffn_norm', 'norm', [columns]);
    if (experts > 0) add('ffn_gate_inp', 'mlp.router', [experts, columns]);
    add(`ffn_gate${suffix}`, 'mlp.gate', [...lead, rows, columns]);
    add(`ffn_up${suffix}`, 'mlp.up', [...lead, rows, columns]);
    add(`ffn_down${suffix}`, 'mlp.down', [...lead, rows, hidden]);
  }
  return { name, architecture: 'llama', model, tensors };
}

function gpt2(name: string, model: MixtureModel, columns: number): MixtureCase {
  const tensors: (MixtureTensor & { readonly name: string })[] = [
    { name: 'token_embd.weight', role: 'token-embedding', shape: [32, columns] },
    { name: 'position_embd.weight', role: 'position-embedding', shape: [16, columns] },
    { name: 'output_norm.weight', role: 'norm', shape: [columns] },
  ];
  for (let layer = 0; layer < model.layers; layer++) {
    const add = (tensor: string, role: MixtureTensor['role'], shape: readonly number[]) =>
      tensors.push({ name: `blk.${layer}.${tensor}`, role, shape, layer });
    add('attn_norm.weight', 'norm', [columns]);
    add('attn_qkv.weight', 'attention.qkv', [4, columns]);
    add('attn_qkv.bias', 'bias', [4]);
    add('attn_output.weight', 'attention.output', [4, columns]);
    add('ffn_up.weight', 'mlp.up', [4, columns]);
    add('ffn_down.weight', 'mlp.down', [4, 4 * columns]);
  }
  return { name, architecture: 'gpt2', model, tensors };
}

const GQA4 = { heads: 8, kvHeads: 2 };
const GQA2 = { heads: 8, kvHeads: 4 };

export const MIXTURE_CASES: readonly MixtureCase[] = [
  llama(
    '16 layers, 4 heads a value, own head',
    { layers: 16, ...GQA4, tiedHead: false },
    { columns: 256, hidden: 512 },
  ),
  llama('9 layers, 2 heads a value, tied head', { layers: 9, ...GQA2, tiedHead: true }, { columns: 256, hidden: 768 }),
  llama(
    '8 layers, rows of 288 columns, tied head',
    { layers: 8, ...GQA2, tiedHead: true },
    { columns: 288, hidden: 768 },
  ),
  llama('8 layers, hidden rows of 800', { layers: 8, ...GQA2, tiedHead: false }, { columns: 256, hidden: 800 }),
  llama('hidden rows of 40 columns', { layers: 4, ...GQA2, tiedHead: false }, { columns: 256, hidden: 40 }),
  llama(
    '17 layers with importance',
    { layers: 17, ...GQA4, tiedHead: false, importance: true },
    { columns: 256, hidden: 256 },
  ),
  llama(
    '9 layers, 2 heads a value, with importance',
    { layers: 9, ...GQA2, tiedHead: true, importance: true },
    { columns: 256, hidden: 256 },
  ),
  llama(
    '8 experts with importance',
    { layers: 16, ...GQA2, tiedHead: false, experts: 8, importance: true },
    { columns: 256, hidden: 256 },
  ),
  llama('80 layers', { layers: 80, ...GQA4, tiedHead: false }, { columns: 256, hidden: 256 }),
  llama('8 experts', { layers: 8, ...GQA4, tiedHead: false, experts: 8 }, { columns: 256, hidden: 256 }),
  gpt2('fused projection, 6 layers', { layers: 6, heads: 4, kvHeads: 4, tiedHead: true }, 256),
  gpt2('fused projection, rows of 384', { layers: 12, heads: 4, kvHeads: 4, tiedHead: true }, 384),
];

/** File types of llama.cpp by the names that both sides know. Some are refused there without an importance matrix. */
export const COMPARED_MIXTURES = [
  'F16',
  'BF16',
  'Q4_0',
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q8_0',
  'Q2_K',
  'Q2_K_S',
  'Q3_K_S',
  'Q3_K_M',
  'Q3_K_L',
  'Q4_K_S',
  'Q4_K_M',
  'Q5_K_S',
  'Q5_K_M',
  'Q6_K',
  'IQ1_S',
  'IQ1_M',
  'IQ2_XXS',
  'IQ2_XS',
  'IQ2_S',
  'IQ2_M',
  'IQ3_XXS',
  'IQ3_XS',
  'IQ3_S',
  'IQ3_M',
  'IQ4_NL',
  'IQ4_XS',
  'TQ1_0',
  'TQ2_0',
  'MXFP4_MOE',
  'Q1_0',
  'Q2_0',
] as const satisfies readonly LlamaFileType[];

/** Types by kind of tensor, the runs of equal ones over the layers counted: `{ 'attn_v.weight': '2 Q6_K, 3 Q4_K' }`. */
export type CompactTypes = Record<string, string>;

export function compactTypes(types: readonly { readonly name: string; readonly type: string }[]): CompactTypes {
  const runs = new Map<string, { type: string; count: number }[]>();
  for (const { name, type } of types) {
    const kind = name.replace(/^blk\.\d+\./, '');
    const list = runs.get(kind) ?? [];
    runs.set(kind, list);
    const last = list.at(-1);
    if (last?.type === type) last.count++;
    else list.push({ type, count: 1 });
  }
  return Object.fromEntries(
    [...runs].sort().map(([kind, list]) => [kind, list.map(({ type, count }) => `${count} ${type}`).join(', ')]),
  );
}

/** Types that `llama_model_quantize` gives, by mixture, in Halftone's spelling. Null where it refuses. */
export async function llamaTypes(testCase: MixtureCase): Promise<Record<string, CompactTypes | null>> {
  const folder = await mkdtemp(join(tmpdir(), 'halftone-mixture-'));
  try {
    const input = join(folder, 'in.gguf');
    await writeFile(input, modelFile(testCase));
    const types: Record<string, CompactTypes | null> = {};
    for (const mixture of COMPARED_MIXTURES) {
      const output = join(folder, `${mixture}.gguf`);
      const imatrix = testCase.model.importance === true ? importances(testCase) : undefined;
      try {
        await llamaQuantize(input, output, mixture, { imatrix });
      } catch {
        types[mixture] = null;
        continue;
      }
      const { tensors } = await ggufListing(output);
      types[mixture] = compactTypes(tensors.map(({ name, type }) => ({ name, type: spelling(type) })));
    }
    return types;
  } finally {
    await rm(folder, { recursive: true });
  }
}

function spelling(type: string): string {
  return /^(f32|f16|bf16)$/.test(type) ? type : type.toUpperCase();
}

function importances({ tensors }: MixtureCase): Map<string, Float32Array> {
  const matrices = tensors.filter(({ shape }) => shape.length >= 2);
  return new Map(
    matrices.map(({ name, shape }) => {
      const experts = shape.length > 2 ? shape[0] : 1;
      return [name, new Float32Array(experts * shape[shape.length - 1]).fill(1)];
    }),
  );
}

function modelFile({ architecture, model, tensors }: MixtureCase): Uint8Array {
  const key = (name: string) => `${architecture}.${name}`;
  const u32 = (name: string, value: number) => ({ key: key(name), type: 'u32', value }) as const;
  const epsilon = architecture === 'llama' ? 'attention.layer_norm_rms_epsilon' : 'attention.layer_norm_epsilon';
  const layout = ggufLayout(
    [
      { key: 'general.architecture', type: 'string', value: architecture },
      u32('context_length', 64),
      u32('embedding_length', 256),
      u32('block_count', model.layers),
      u32('feed_forward_length', 256),
      u32('attention.head_count', model.heads),
      u32('attention.head_count_kv', model.kvHeads),
      { key: key(epsilon), type: 'f32', value: 1e-5 },
      ...(model.experts === undefined ? [] : [u32('expert_count', model.experts), u32('expert_used_count', 2)]),
    ],
    tensors.map(({ name, shape }) => ({ name, dtype: 'f32' as const, shape })),
  );
  const file = new Uint8Array(layout.byteLength);
  file.set(layout.header);
  for (const { offset, byteLength } of layout.tensors) {
    file.set(new Uint8Array(Float32Array.from({ length: byteLength / 4 }, (_, i) => Math.sin(i)).buffer), offset);
  }
  return file;
}
