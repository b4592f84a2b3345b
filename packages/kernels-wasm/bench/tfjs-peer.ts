/** TensorFlow.js' WebAssembly matMul in float32, 1024 columns and features. In Node it runs on one thread whatever is asked. */
import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';
import type * as WasmBackend from '@tensorflow/tfjs-backend-wasm';
import type * as Core from '@tensorflow/tfjs-core';
import { noise } from '../test/noise.js';
import { answerRequests } from './peer.js';

const SIZE = 1024;

const require = createRequire(import.meta.url);
const tf: typeof Core = require('@tensorflow/tfjs-core');
const { setWasmPaths }: typeof WasmBackend = require('@tensorflow/tfjs-backend-wasm');
setWasmPaths(dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + sep);
await tf.setBackend('wasm');
const weight = tf.tensor2d(noise(SIZE * SIZE), [SIZE, SIZE]);
answerRequests((rows) => {
  const x = tf.tensor2d(noise(rows * SIZE), [rows, SIZE]);
  return () => tf.matMul(x, weight).dispose();
});
