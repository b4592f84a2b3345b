export { type RandomLlama, type RandomLlamaShape, randomLlamaGguf, TINY_LLAMA_SHAPE } from './random-llama-gguf.js';
export {
  type Bench,
  type BenchResult,
  bestSeconds,
  bestSecondsInTurn,
  listArgument,
  numberArgument,
  printBench,
} from './report.js';
export { type SyntheticLlama, writeSyntheticLlama } from './synthetic-llama.js';
