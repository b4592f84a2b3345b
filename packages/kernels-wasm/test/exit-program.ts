/** Starts a worker thread, uses it, and ends without disposing of it. */
import { machine } from '../src/runtime.js';
import { threadedJob } from './threaded-job.js';

const runtime = machine({ threads: 2, build: 'simd' });
threadedJob(runtime);
await new Promise((resolve) => setTimeout(resolve, 200));
threadedJob(runtime);
console.log(runtime.threads);
