import type { Progress } from '@halftone/tensor';
import { Presets, SingleBar } from 'cli-progress';

export type ProgressReporter = {
  readonly report: (progress: Progress) => void;
  /** Removes the bar, so that what follows starts on a clean line. */
  readonly stop: () => void;
};

const SILENT: ProgressReporter = { report: () => {}, stop: () => {} };

/** A bar on a terminal, one line a stage elsewhere, nothing with `quiet`. Writes to `stream`, which is stderr. */
export function progressReporter(stream: NodeJS.WriteStream, quiet: boolean): ProgressReporter {
  if (quiet) return SILENT;
  return stream.isTTY ? barReporter(stream) : lineReporter(stream);
}

function barReporter(stream: NodeJS.WriteStream): ProgressReporter {
  let bar: SingleBar | undefined;
  let stage = '';
  const stop = () => {
    bar?.stop();
    bar = undefined;
    stage = '';
  };
  return {
    report(progress) {
      if (progress.stage !== stage) {
        stop();
        stage = progress.stage;
        bar = new SingleBar(
          {
            stream,
            format: `${stage} {bar} {percentage}% | {value}/{total} | {eta_formatted} left`,
            clearOnComplete: true,
            hideCursor: true,
          },
          Presets.shades_classic,
        );
        bar.start(progress.total, progress.done);
      }
      bar?.update(progress.done);
    },
    stop,
  };
}

function lineReporter(stream: NodeJS.WritableStream): ProgressReporter {
  // Calibration and quantization take turns, block by block: each is named once.
  const seen = new Set<string>();
  return {
    report({ stage, total }) {
      if (seen.has(stage)) return;
      seen.add(stage);
      stream.write(`${stage} (${total})\n`);
    },
    stop() {
      seen.clear();
    },
  };
}
