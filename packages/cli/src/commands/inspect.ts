import { checkpointBytes } from '@halftone/eval';
import { type Checkpoint, isHalftoneError } from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';
import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import { openCheckpointArgument, openModelArgument } from '../model-argument.js';
import { addCommonOptions } from '../options.js';
import { suspicions } from '../suspicions.js';
import { formatBytes, formatCount } from '../terminal/format.js';
import { renderFacts, renderTable } from '../terminal/table.js';

interface InspectOptions {
  readonly tensors?: boolean;
}

export function addInspectCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('inspect')
    .summary('show what a model file holds, without reading its weights')
    .description('Architecture, tokenizer, storage types, bytes and bits per weight of a model. Reads headers only.')
    .argument('<model>', 'the model to look into')
    .option('--tensors', 'list every tensor')
    .addHelpText('after', INSPECT_HELP)
    .action((model: string, options: InspectOptions) => inspectAction(model, options, context));
  addCommonOptions(command);
}

const INSPECT_HELP = `
Examples:
  halftone inspect wren
  halftone inspect model.gguf --tensors
  halftone inspect hf:HuggingFaceTB/SmolLM2-135M
  halftone inspect https://example.com/model.gguf --json`;

async function inspectAction(model: string, options: InspectOptions, context: CommandContext): Promise<void> {
  const { source, checkpoint, problem } = await openAnything(model, context.signal);
  try {
    const account = checkpointBytes(checkpoint);
    const description = source && describeModel(source);
    const suspicious = suspicions(checkpoint, source);
    if (context.json) {
      const { fileBytes: bytes, elements, bitsPerWeight, byType } = account;
      context.printJson({
        model,
        format: checkpoint.format,
        bytes,
        elements,
        bitsPerWeight,
        byType,
        ...(description ? { description } : { problem }),
        suspicious,
        metadata: Object.fromEntries(shortMetadata(checkpoint.metadata)),
        tensors: account.tensors.map((tensor) => ({ ...tensor, shape: shapeOf(checkpoint, tensor.name) })),
      });
      return;
    }
    context.print(renderSummary(model, checkpoint, account, description ?? { 'not runnable': problem as string }));
    context.print(`\n${renderTypes(account)}`);
    for (const sentence of suspicious) context.print(`\nlook twice: ${sentence}`);
    if (options.tensors) context.print(`\n${renderTensors(checkpoint, account)}`);
  } finally {
    await (source ?? checkpoint).close();
  }
}

type Account = ReturnType<typeof checkpointBytes>;

function renderSummary(
  model: string,
  checkpoint: Checkpoint,
  { fileBytes, bytes, elements, tensors, bitsPerWeight }: Account,
  description: Record<string, string | number>,
): string {
  return renderFacts([
    ['model', model],
    ['format', checkpoint.format],
    ...layoutFact(checkpoint),
    ['size', `${formatBytes(fileBytes)} in files, ${formatBytes(bytes)} of weights`],
    [
      'weights',
      `${formatCount(elements)} in ${formatCount(tensors.length)} tensors, ${bitsPerWeight.toFixed(3)} bits each`,
    ],
    ...Object.entries(description),
  ]);
}

function layoutFact({ quantized }: Checkpoint): [string, string][] {
  const layouts = new Set(Array.from(quantized?.values() ?? [], (weight) => weight.layout));
  return layouts.size === 0 ? [] : [['layout', [...layouts].join(', ')]];
}

function renderTypes({ byType }: Account): string {
  const types = Object.entries(byType).sort(([, a], [, b]) => b.bytes - a.bytes);
  return renderTable(
    [
      { title: 'type' },
      { title: 'tensors', align: 'right' },
      { title: 'weights', align: 'right' },
      { title: 'bytes', align: 'right' },
      { title: 'bits each', align: 'right' },
    ],
    types.map(([type, { tensors, elements, bytes }]) => [
      type,
      tensors,
      formatCount(elements),
      formatBytes(bytes),
      ((8 * bytes) / elements).toFixed(3),
    ]),
  );
}

function renderTensors(checkpoint: Checkpoint, { tensors }: Account): string {
  return renderTable(
    [{ title: 'tensor' }, { title: 'type' }, { title: 'shape', align: 'right' }, { title: 'bytes', align: 'right' }],
    tensors.map(({ name, dtype, bytes }) => [
      name,
      dtype,
      shapeOf(checkpoint, name)?.join(' x ') || 'scalar',
      formatCount(bytes),
    ]),
  );
}

function shapeOf({ tensors, quantized }: Checkpoint, name: string): readonly number[] | undefined {
  return (quantized?.get(name) ?? tensors.get(name))?.shape;
}

/** Opens a model, or at least its tensors when it is not a model that can be run. */
async function openAnything(model: string, signal: AbortSignal) {
  try {
    const source = await openModelArgument(model, { signal, headersOnly: true });
    return { source, checkpoint: source.checkpoint };
  } catch (error) {
    if (!isHalftoneError(error) || error.code === 'ABORTED') throw error;
    // A damaged or missing file fails here again; the first message says more.
    const checkpoint = await openCheckpointArgument(model, { signal, headersOnly: true }).catch(() => {
      throw error;
    });
    const container = ['onnx', 'npy', 'npz'].includes(checkpoint.format);
    const problem = container
      ? `${checkpoint.format} files are looked into, models run from safetensors and GGUF`
      : error.message;
    return { checkpoint, problem };
  }
}

function describeModel({ config, graph, tokenizer }: ModelSource): Record<string, string | number> {
  return {
    architecture: config.architecture,
    layers: config.layers,
    'hidden size': config.hiddenSize,
    'feed-forward size': config.intermediateSize,
    heads: `${config.heads} query, ${config.kvHeads} key/value, ${config.headDim} wide`,
    context: `${formatCount(config.contextLength)} tokens`,
    vocabulary: `${formatCount(config.vocabSize)} tokens, head ${graph.tiedHead ? 'tied to' : 'apart from'} the embedding`,
    tokenizer: tokenizer ? tokenizerKind(tokenizer.tokenizerJson) : 'none',
    'chat template': tokenizer?.tokenizerConfig?.chat_template ? 'yes' : 'no',
  };
}

function tokenizerKind(tokenizerJson: object): string {
  const { type } = ((tokenizerJson as { model?: { type?: string } }).model ?? {}) as { type?: string };
  return type ?? 'unknown';
}

/** Metadata without the long arrays (vocabularies). */
function* shortMetadata(metadata: ReadonlyMap<string, unknown>): Generator<[string, unknown]> {
  for (const [key, value] of metadata) {
    const length = typeof value === 'object' && value !== null ? (value as ArrayLike<unknown>).length : 0;
    yield [key, length > 64 ? `(${length} values)` : value];
  }
}
