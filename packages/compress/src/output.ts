/** One file of a job's output, with its final size. */
export interface OutputFile {
  /** Name within the output folder; ignored where the output is a single file. */
  readonly name: string;
  readonly byteLength: number;
}

export interface OutputJob {
  /** Equal fingerprints mean equal bytes: only then is unfinished work taken up again. */
  readonly fingerprint: string;
  readonly files: readonly OutputFile[];
}

/**
 * Where a job writes: known sizes, absolute offsets, and a record for each finished piece so that a killed job can go on.
 * The result appears under its name only when `commit` resolves.
 */
export interface JobOutput {
  /** Prepares the space. Returns the records of the pieces that an earlier, unfinished run of the same job wrote. */
  begin(job: OutputJob): Promise<readonly unknown[]>;
  write(file: number, offset: number, bytes: Uint8Array): Promise<void>;
  /** Says that everything written so far belongs to finished pieces. `record` is JSON. */
  finishPiece(record: unknown): Promise<void>;
  commit(): Promise<void>;
  /** Ends the job and leaves nothing behind. */
  discard(): Promise<void>;
  /** Ends the job but keeps what is finished, so that the same job resumes. */
  suspend(): Promise<void>;
}

/** Keeps the output in memory: for browsers and tests. Nothing to resume. */
export function memoryOutput(): JobOutput & { readonly files: readonly Uint8Array[] } {
  let files: Uint8Array[] = [];
  return {
    get files() {
      return files;
    },
    async begin(job) {
      files = job.files.map((file) => new Uint8Array(file.byteLength));
      return [];
    },
    async write(file, offset, bytes) {
      (files[file] as Uint8Array).set(bytes, offset);
    },
    async finishPiece() {},
    async commit() {},
    async discard() {
      files = [];
    },
    async suspend() {
      files = [];
    },
  };
}
