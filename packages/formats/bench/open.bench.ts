/**
 * Opening a GGUF file with a vocabulary of 128,000 (tokens, scores, types, merges) and 300 tensors, against @huggingface/gguf. Both
 * give all metadata and the list of tensors. `--json` prints one JSON object.
 */
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bestSecondsInTurn, printBench } from '@halftone/bench';
import type { TensorEntry } from '@halftone/tensor';
import { gguf as peer } from '@huggingface/gguf';
import { gguf, ggufLayout } from '../src/index.js';
import { fileSource } from '../src/node.js';

const VOCABULARY = 128_000;
const TENSORS = 300;
const REPEATS = 15;

const { header, byteLength } = ggufLayout(
  [
    { key: 'general.architecture', type: 'string', value: 'llama' },
    { key: 'tokenizer.ggml.model', type: 'string', value: 'gpt2' },
    { key: 'tokenizer.ggml.tokens', type: 'string[]', value: Array.from({ length: VOCABULARY }, (_, i) => word(i)) },
    { key: 'tokenizer.ggml.scores', type: 'f32[]', value: Float32Array.from({ length: VOCABULARY }, (_, i) => -i) },
    { key: 'tokenizer.ggml.token_type', type: 'i32[]', value: new Int32Array(VOCABULARY).fill(1) },
    {
      key: 'tokenizer.ggml.merges',
      type: 'string[]',
      value: Array.from({ length: VOCABULARY }, (_, i) => `${word(i)} ${word(i * 7)}`),
    },
  ],
  Array.from(
    { length: TENSORS },
    (_, i): TensorEntry => ({ name: `blk.${i}.ffn_up.weight`, dtype: 'Q4_K', shape: [64, 256] }),
  ),
);

const folder = await mkdtemp(join(tmpdir(), 'halftone-open-'));
const path = join(folder, 'model.gguf');
try {
  await writeFile(path, header);
  // Neither reads weights: the rest is a hole.
  await truncate(path, byteLength);
  const [ours, theirs] = (await bestSecondsInTurn([openOurs, () => peer(path, { allowLocalFile: true })], REPEATS)) as [
    number,
    number,
  ];
  printBench({
    title: `Opening a GGUF file with a header of ${(header.length / 1e6).toFixed(1)} MB`,
    results: [
      {
        name: `vocabulary of ${VOCABULARY}, ${TENSORS} tensors`,
        ours: 1 / ours,
        peer: 1 / theirs,
        peerName: '@huggingface/gguf',
        unit: 'files/s',
        ratio: theirs / ours,
        goal: 1,
      },
    ],
  });
} finally {
  await rm(folder, { recursive: true });
}

async function openOurs(): Promise<void> {
  const checkpoint = await gguf.open(await fileSource(path));
  await checkpoint.close();
}

/** Words of one to twelve letters; every ninth is not ASCII, as in vocabularies of many languages. */
function word(i: number): string {
  let text = i % 9 === 0 ? 'é' : i % 3 === 0 ? 'Ġ' : '';
  for (let rest = (i * 2654435761) % 2 ** (4 + (i % 40)); rest > 0; rest = Math.floor(rest / 26)) {
    text += String.fromCharCode(97 + (rest % 26));
  }
  return text;
}
