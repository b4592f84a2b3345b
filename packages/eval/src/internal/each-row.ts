import { HalftoneError, throwIfAborted } from '@halftone/tensor';
import type { LogitsBlock, LogitsModel } from '../logits-model.js';
import type { Window } from '../windows.js';

/** The row at `offset` of `logits` predicts `token`, which stands at `position` of the window. */
export type RowVisitor = (
  position: number,
  token: number,
  logits: readonly Float32Array[],
  offsets: readonly number[],
) => void;

/** Runs models in lockstep over one window and visits every scored position once, whatever their block sizes. */
export async function eachRow(
  models: readonly LogitsModel[],
  window: Window,
  signal: AbortSignal | undefined,
  visit: RowVisitor,
): Promise<void> {
  // Nothing is predicted from the last token, so it is not fed.
  const input = window.input.subarray(0, window.score.end - 1);
  const first = window.score.start - 1;
  const streams = models.map((model) => model.logits(input, first, { signal })[Symbol.asyncIterator]());
  const blocks = new Array<LogitsBlock | undefined>(models.length);
  const logits = new Array<Float32Array>(models.length);
  const offsets = new Array<number>(models.length);
  try {
    let position = first;
    while (position < input.length) {
      throwIfAborted(signal, 'eval');
      let end = input.length;
      for (let k = 0; k < models.length; k++) {
        let block = blocks[k];
        if (block === undefined || block.start + block.rows === position) {
          block = await nextBlock(streams[k], models[k], position, input.length);
          blocks[k] = block;
        }
        logits[k] = block.logits;
        end = Math.min(end, block.start + block.rows);
      }
      for (; position < end; position++) {
        for (let k = 0; k < models.length; k++) {
          offsets[k] = (position - (blocks[k] as LogitsBlock).start) * models[k].vocabularySize;
        }
        visit(position + 1, window.input[position + 1], logits, offsets);
      }
    }
  } finally {
    await Promise.all(streams.map((stream) => stream.return?.()));
  }
}

async function nextBlock(
  stream: AsyncIterator<LogitsBlock>,
  model: LogitsModel,
  position: number,
  end: number,
): Promise<LogitsBlock> {
  const next = await stream.next();
  if (next.done) {
    throw new HalftoneError(
      'SHAPE',
      `the model stopped at position ${position} of ${end}; it must give every row asked for`,
      {
        where: 'eval',
        details: { position, end },
      },
    );
  }
  const { start, rows, logits } = next.value;
  if (start !== position || !(rows >= 1) || start + rows > end || logits.length < rows * model.vocabularySize) {
    throw new HalftoneError(
      'SHAPE',
      `the model gave ${rows} rows at position ${start} in ${logits.length} logits; ` +
        `expected rows of ${model.vocabularySize} from ${position} to at most ${end}`,
      { where: 'eval', details: { start, rows, length: logits.length, position, end } },
    );
  }
  return next.value;
}
