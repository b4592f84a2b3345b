import {
  type Awaitable,
  type ByteSink,
  HalftoneError,
  type TensorEntry,
  throwIfAborted,
  type WorkOptions,
} from '@halftone/tensor';
import { abortOnFailure } from './internal/abort-on-failure.js';

/** Where a tensor's bytes go in a file. */
export interface TensorPlacement extends TensorEntry {
  /** Of the first byte, from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Everything about a file but its weights: known before the first weight is computed. */
export interface FileLayout {
  /** All bytes before the data, padding included. */
  readonly header: Uint8Array;
  /** In the order in which their bytes are written. Gaps between them are zeros. */
  readonly tensors: readonly TensorPlacement[];
  /** Size of the finished file. */
  readonly byteLength: number;
}

/** A tensor's bytes, whole or in pieces of any size. */
export type TensorData = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Gives a tensor's bytes when the writer gets to it. */
export type TensorDataProvider = (tensor: TensorPlacement) => Awaitable<TensorData>;

/** Writes a file front to back, tensor by tensor, holding none of it. */
export interface TensorWriter {
  readonly layout: FileLayout;
  /**
   * Appends bytes to a tensor; may be called again for the next rows. Tensors come in the order of `layout.tensors`.
   * Throws `RANGE` for another tensor than the one that is due, or for more bytes than it has.
   */
  writeTensor(name: string, data: TensorData): Promise<void>;
  /** Throws `RANGE` when bytes are missing; else commits the sink. */
  finish(): Promise<void>;
  /** Discards the file. */
  abort(): Promise<void>;
}

/** A writer over a sink that has not been written to, else `RANGE`. After an error, call `abort`. */
export function tensorWriter(sink: ByteSink, layout: FileLayout, where: string): TensorWriter {
  const { tensors } = layout;
  let next = 0;
  let written = 0;

  function fail(message: string, details: Record<string, unknown>): never {
    throw new HalftoneError('RANGE', message, { where, details });
  }

  if (sink.position !== 0) fail(`the sink is at byte ${sink.position}; give a new one`, { position: sink.position });

  async function padTo(offset: number): Promise<void> {
    if (sink.position === 0) await sink.write(layout.header);
    if (sink.position < offset) await sink.write(new Uint8Array(offset - sink.position));
  }

  async function append(bytes: Uint8Array, name: string): Promise<void> {
    while (tensors[next]?.byteLength === written && tensors[next]?.name !== name) skipFull();
    const due = tensors[next];
    if (due?.name !== name) {
      fail(
        `${name}: the tensor due is ${due?.name ?? 'none, the file is full'}; write in the order of layout.tensors`,
        {
          name,
          due: due?.name,
        },
      );
    }
    if (written + bytes.length > due.byteLength) {
      fail(`${name}: ${written + bytes.length} bytes written, it has ${due.byteLength}`, {
        name,
        byteLength: due.byteLength,
      });
    }
    if (bytes.length === 0) return;
    if (written === 0) await padTo(due.offset);
    await sink.write(bytes);
    written += bytes.length;
  }

  function skipFull(): void {
    next++;
    written = 0;
  }

  return {
    layout,
    async writeTensor(name, data) {
      if (sink.position === 0) await padTo(0);
      if (data instanceof Uint8Array) await append(data, name);
      else for await (const piece of data) await append(piece, name);
    },
    async finish() {
      while (tensors[next] !== undefined && tensors[next]?.byteLength === written) skipFull();
      const due = tensors[next];
      if (due !== undefined) {
        fail(`${due.name}: ${written} of its ${due.byteLength} bytes are written; write the rest before finish`, {
          name: due.name,
        });
      }
      await padTo(layout.byteLength);
      await sink.commit();
    },
    abort: () => sink.abort(),
  };
}

export interface WriteDataOptions extends WorkOptions {
  readonly data: TensorDataProvider;
}

/** Writes every tensor of one file. Aborts the sink when anything fails. */
export async function writeAll(
  sink: ByteSink,
  layout: FileLayout,
  where: string,
  options: WriteDataOptions,
): Promise<void> {
  await abortOnFailure(sink, async () => {
    const writer = tensorWriter(sink, layout, where);
    await writeTensors(writer, where, options);
    await writer.finish();
  });
}

async function writeTensors(writer: TensorWriter, where: string, options: WriteDataOptions): Promise<void> {
  const { tensors } = writer.layout;
  for (const [done, placement] of tensors.entries()) {
    throwIfAborted(options.signal, where);
    options.onProgress?.({ stage: 'write', done, total: tensors.length });
    await writer.writeTensor(placement.name, await options.data(placement));
  }
  options.onProgress?.({ stage: 'write', done: tensors.length, total: tensors.length });
}

export interface FilePlan {
  readonly fileName: string;
  readonly layout: FileLayout;
}

/**
 * Makes the sink of one file of a set. `expectedBytes` is its final size, `remainingBytes` that of the files after it as well:
 * what the disk must have room for.
 */
export type SinkFactory = (fileName: string, expectedBytes: number, remainingBytes: number) => Awaitable<ByteSink>;

/** Writes a set of files; none appears before all are written. `last` (an index) is committed after the others. */
export async function writeFileSet(
  files: readonly FilePlan[],
  last: FilePlan | undefined,
  where: string,
  createSink: SinkFactory,
  options: WriteDataOptions,
): Promise<void> {
  const opened: ByteSink[] = [];
  const commits: (() => Promise<void>)[] = [];
  const abortAll = async () => {
    await Promise.allSettled(opened.map((sink) => sink.abort()));
  };
  await abortOnFailure({ abort: abortAll }, async () => {
    const all = last === undefined ? files : [...files, last];
    let remainingBytes = all.reduce((sum, { layout }) => sum + layout.byteLength, 0);
    for (const { fileName, layout } of all) {
      throwIfAborted(options.signal, where);
      const sink = await createSink(fileName, layout.byteLength, remainingBytes);
      remainingBytes -= layout.byteLength;
      opened.push(sink);
      const held = holdCommit(sink, () => commits.push(() => sink.commit()));
      const writer = tensorWriter(held, layout, where);
      await writeTensors(writer, where, options);
      await writer.finish();
    }
    for (const commit of commits) await commit();
  });
}

/** The sink, with `commit` only noting that it is due. */
function holdCommit(sink: ByteSink, onCommit: () => void): ByteSink {
  return {
    get position() {
      return sink.position;
    },
    write: (bytes) => sink.write(bytes),
    commit: async () => onCommit(),
    abort: () => sink.abort(),
  };
}
