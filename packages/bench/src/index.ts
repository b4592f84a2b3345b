export { type Bench, type BenchResult, bestSeconds, numberArgument, printBench } from './report.js';
export { type SyntheticLlama, writeSyntheticLlama } from './synthetic-llama.js';
