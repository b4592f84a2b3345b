import {
  type Awaitable,
  type ByteSource,
  type Checkpoint,
  HalftoneError,
  type LazyTensor,
  type ReadOptions,
  type TensorEntry,
} from '@halftone/tensor';
import { parseJson } from './internal/json.js';
import { safetensors } from './safetensors.js';
import { type SafetensorsLayoutOptions, safetensorsLayout } from './safetensors-writer.js';
import { type FilePlan, type SinkFactory, type WriteDataOptions, writeFileSet } from './tensor-writer.js';

export const SAFETENSORS_INDEX_NAME = 'model.safetensors.index.json';

export interface SafetensorsIndex {
  readonly metadata: ReadonlyMap<string, unknown>;
  /** Tensor name to file name. */
  readonly weightMap: ReadonlyMap<string, string>;
}

/**
 * Parses `model.safetensors.index.json`. Throws `FORMAT` for anything but an object with a `weight_map` of plain file names
 * (no folders: a downloaded index must not reach outside its own).
 */
export function parseSafetensorsIndex(text: string, name = SAFETENSORS_INDEX_NAME): SafetensorsIndex {
  const root = parseJson(text, 'safetensors', name);
  const map = root instanceof Map ? root.get('weight_map') : undefined;
  if (!(root instanceof Map) || !(map instanceof Map)) fail(`${name}: has no weight_map object`, { name });
  const weightMap = new Map<string, string>();
  for (const [tensor, file] of map) {
    if (typeof file !== 'string' || !/^[^/\\]+$/.test(file) || file === '.' || file === '..') {
      fail(`${name}: the file of ${tensor} is ${JSON.stringify(file)}, expected a plain file name`, { tensor });
    }
    weightMap.set(tensor, file);
  }
  const metadata = root.get('metadata');
  return { metadata: metadata instanceof Map ? metadata : new Map(), weightMap };
}

export interface OpenShardsOptions extends ReadOptions {
  /** Opens a shard by its file name, beside the index. */
  readonly openFile: (fileName: string) => Awaitable<ByteSource>;
}

/**
 * Opens the shards that an index names as one checkpoint, tensors in the order of the shards' names.
 *
 * Throws `FORMAT` when a tensor is missing, lies in another shard than the index says, or is not in the index.
 * On failure all shards are closed.
 */
export async function openSafetensorsShards(index: SafetensorsIndex, options: OpenShardsOptions): Promise<Checkpoint> {
  const shards: { file: string; checkpoint: Checkpoint }[] = [];
  const files = [...new Set(index.weightMap.values())].sort();
  const close = async () => {
    for (const { checkpoint } of shards) await checkpoint.close();
  };
  try {
    for (const file of files) {
      const source = await options.openFile(file);
      try {
        shards.push({ file, checkpoint: await safetensors.open(source, options) });
      } catch (error) {
        await source.close?.();
        throw error;
      }
    }
    const tensors = new Map<string, LazyTensor>();
    for (const { file, checkpoint } of shards) {
      for (const [name, tensor] of checkpoint.tensors) {
        const expected = index.weightMap.get(name);
        if (expected === undefined)
          fail(`${name}: is in ${file} but not in the index; make the index again`, { name, file });
        if (expected !== file)
          fail(`${name}: the index says ${expected} but it is in ${file}; make the index again`, {
            name,
            file,
            expected,
          });
        tensors.set(name, tensor);
      }
    }
    for (const [name, file] of index.weightMap) {
      if (!tensors.has(name))
        fail(`${name}: the index says ${file} but it is not there; download the file again`, { name, file });
    }
    return {
      format: 'safetensors',
      metadata: shards[0]?.checkpoint.metadata ?? new Map(),
      tensors,
      byteLength: shards.reduce((sum, { checkpoint }) => sum + checkpoint.byteLength, 0),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

export interface ShardOptions extends SafetensorsLayoutOptions {
  /** Data bytes a shard holds at most; a larger tensor gets a shard of its own. Default 5 GB, as in huggingface_hub. */
  readonly maxShardBytes?: number;
}

export interface SafetensorsShardPlan {
  readonly files: readonly FilePlan[];
  /** Text of `model.safetensors.index.json`; undefined for a single file, which is named `model.safetensors`. */
  readonly index?: string;
}

/** Distributes tensors over files in the given order and computes every header and the index. A pure function. */
export function planSafetensorsShards(
  entries: readonly TensorEntry[],
  options: ShardOptions = {},
): SafetensorsShardPlan {
  const { maxShardBytes = 5_000_000_000 } = options;
  const whole = safetensorsLayout(entries, { ...options, order: 'aligned' });
  const sizes = new Map(whole.tensors.map(({ name, byteLength }) => [name, byteLength]));
  const groups: TensorEntry[][] = [[]];
  let room = maxShardBytes;
  for (const entry of entries) {
    const size = sizes.get(entry.name) as number;
    if (size > room && (groups.at(-1) as TensorEntry[]).length > 0) {
      groups.push([]);
      room = maxShardBytes;
    }
    (groups.at(-1) as TensorEntry[]).push(entry);
    room -= size;
  }
  const five = (n: number) => String(n).padStart(5, '0');
  const files = groups.map((group, i) => ({
    fileName: groups.length === 1 ? 'model.safetensors' : `model-${five(i + 1)}-of-${five(groups.length)}.safetensors`,
    layout: safetensorsLayout(group, options),
  }));
  if (files.length === 1) return { files };
  const totalSize = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const lines = files.flatMap(({ fileName }, i) =>
    (groups[i] as TensorEntry[]).map(({ name }) => `    ${JSON.stringify(name)}: ${JSON.stringify(fileName)}`),
  );
  const index = `{\n  "metadata": {\n    "total_size": ${totalSize}\n  },\n  "weight_map": {\n${lines.join(',\n')}\n  }\n}\n`;
  return { files, index };
}

export interface WriteShardsOptions extends ShardOptions, WriteDataOptions {
  readonly createSink: SinkFactory;
}

/** Writes the shards and then the index. No file appears before all are written; on failure none is left. */
export async function writeSafetensorsShards(
  entries: readonly TensorEntry[],
  options: WriteShardsOptions,
): Promise<SafetensorsShardPlan> {
  const plan = planSafetensorsShards(entries, options);
  const text = plan.index === undefined ? undefined : new TextEncoder().encode(plan.index);
  const last = text && {
    fileName: SAFETENSORS_INDEX_NAME,
    layout: { header: text, tensors: [], byteLength: text.length },
  };
  await writeFileSet(plan.files, last, 'safetensors', options.createSink, options);
  return plan;
}

function fail(message: string, details: Record<string, unknown>): never {
  throw new HalftoneError('FORMAT', message, { where: 'safetensors', details });
}
