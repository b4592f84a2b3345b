import type { GgufArchitecture, TensorRole } from './architectures/form.js';
import { architectureForm, tensorRoles } from './architectures.js';

/** A tensor's role and the block it belongs to (none for embeddings, the final norm and the head). */
export interface NamedRole {
  readonly role: TensorRole;
  readonly block?: number;
}

/**
 * GGUF name of a Hugging Face tensor, or undefined when the architecture has no such tensor.
 * Names are accepted with and without the whole model's prefix (`model.`, `transformer.`, `bert.`). Source: gguf-py, tensor_mapping.py.
 */
export function ggufTensorName(architecture: GgufArchitecture, hfName: string): string | undefined {
  const found = findRole(architecture, hfName, 'hf');
  return found && fillBlock(found.role.gguf, found.block);
}

/** Hugging Face name of a GGUF tensor, or undefined when the architecture has no such tensor. */
export function huggingFaceTensorName(architecture: GgufArchitecture, ggufName: string): string | undefined {
  const found = findRole(architecture, ggufName, 'gguf');
  return found && fillBlock(found.role.hf, found.block);
}

/** GGUF names of the tensors without which llama.cpp does not load a model of `blocks` blocks. */
export function ggufRequiredTensors(architecture: GgufArchitecture, blocks: number): string[] {
  return expandRoles(architecture, blocks)
    .filter(({ role }) => role.required)
    .map(({ role, block }) => fillBlock(role.gguf, block));
}

/** The roles of a whole model, blocks expanded, in file order. */
export function expandRoles(architecture: GgufArchitecture, blocks: number): NamedRole[] {
  const roles = tensorRoles(architecture);
  const inBlock = roles.filter((role) => role.gguf.includes('{}'));
  const outside = roles.filter((role) => !role.gguf.includes('{}'));
  const expanded: NamedRole[] = outside.filter((role) => !role.gguf.startsWith('output')).map((role) => ({ role }));
  for (let block = 0; block < blocks; block++) for (const role of inBlock) expanded.push({ role, block });
  for (const role of outside) if (role.gguf.startsWith('output')) expanded.push({ role });
  return expanded;
}

export function fillBlock(template: string, block: number | undefined): string {
  return block === undefined ? template : template.replace('{}', String(block));
}

/**
 * Names that a checkpoint may have for one tensor: as transformers saves it, with and without the whole model's prefix,
 * and with BERT's older words for the parts of a layer norm.
 */
export function checkpointNames(architecture: GgufArchitecture, hfName: string): string[] {
  const { prefix } = architectureForm(architecture);
  const bare = hfName.startsWith(prefix) ? hfName.slice(prefix.length) : hfName;
  const names = [...new Set([hfName, bare, prefix + bare])];
  const older = names.map((name) => name.replace(/LayerNorm\.weight$/, 'LayerNorm.gamma'));
  return [...new Set([...names, ...older.map((name) => name.replace(/LayerNorm\.bias$/, 'LayerNorm.beta'))])];
}

function findRole(architecture: GgufArchitecture, name: string, side: 'gguf' | 'hf'): NamedRole | undefined {
  const match = /^(.*?\.)(\d+)(\..*)$/.exec(name);
  const template = match ? `${match[1]}{}${match[3]}` : name;
  if (!match && name.includes('{}')) return undefined;
  const role = tensorRoles(architecture).find((candidate) =>
    side === 'gguf' ? candidate.gguf === template : checkpointNames(architecture, candidate.hf).includes(template),
  );
  if (!role) return undefined;
  return match ? { role, block: Number(match[2]) } : { role };
}
