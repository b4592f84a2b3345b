import { isHalftoneError } from '@halftone/tensor';
import { Command, CommanderError } from 'commander';
import { addConvertCommand } from './commands/convert.js';
import { addEvalCommand } from './commands/eval.js';
import { addGenerateCommand } from './commands/generate.js';
import { addInspectCommand } from './commands/inspect.js';
import { addQuantizeCommand } from './commands/quantize.js';
import { type CommandContext, createContext, type Streams } from './context.js';
import { packageVersion } from './version.js';

export type { Streams };

/** Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted. */
const SUCCESS = 0;
const FAILURE = 1;
const USAGE = 2;
const INTERRUPTED = 130;

/**
 * Runs one command line (without `node` and the script's name) and resolves to its exit code. Never throws.
 */
export async function run(argv: readonly string[], streams: Streams): Promise<number> {
  const abort = new AbortController();
  const interrupt = () => abort.abort(new Error('interrupted'));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const context = createContext(streams, argv, abort.signal);
  try {
    await createProgram(context).parseAsync([...argv], { from: 'user' });
    return SUCCESS;
  } catch (error) {
    context.progress.stop();
    return reportError(error, context);
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

function createProgram(context: CommandContext): Command {
  const program = new Command('halftone')
    .description('Make transformer language models smaller, and measure what it cost.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .showHelpAfterError("Try 'halftone --help'.")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.streams.stdout.write(text),
      writeErr: (text) => context.streams.stderr.write(text),
    })
    .addHelpText('after', PROGRAM_HELP);
  addInspectCommand(program, context);
  addConvertCommand(program, context);
  addQuantizeCommand(program, context);
  addEvalCommand(program, context);
  addGenerateCommand(program, context);
  return program;
}

const PROGRAM_HELP = `
A MODEL is a folder in the Hugging Face layout, a .safetensors or .gguf file, a llama2.c .bin file,
the http(s) URL of a .gguf file or of a model folder, hf:owner/name[@revision][/file.gguf] for a model of the
Hugging Face Hub, or 'wren', a small model that comes with Halftone.

Examples:
  halftone inspect wren
  halftone quantize wren --recipe Q4_K_M --out wren-q4.gguf
  halftone eval wren-q4.gguf --text book.txt --baseline wren
  halftone generate wren-q4.gguf --prompt "It was a dark night"

Every command takes --json (one JSON object on stdout) and --quiet (no progress on stderr).
Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.`;

function reportError(error: unknown, context: CommandContext): number {
  // Help and version that were asked for come as errors with exit code 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? SUCCESS : USAGE;
  if (isHalftoneError(error)) {
    if (context.json) {
      const { code, where, message, details } = error;
      context.printJson({ error: { code, where, message, details } });
    }
    context.streams.stderr.write(`error ${error.message}\n`);
    return error.code === 'ABORTED' ? INTERRUPTED : FAILURE;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (context.json) context.printJson({ error: { code: 'INTERNAL', message: String(error) } });
  context.streams.stderr.write(`This is a bug in halftone, please report it:\n${text}\n`);
  return FAILURE;
}
