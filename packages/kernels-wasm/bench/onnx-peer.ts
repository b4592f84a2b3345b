/** ONNX Runtime Web's MatMulNBits on int4 weights, 4096x4096. */
import { env, InferenceSession, Tensor } from 'onnxruntime-web';
import { noise } from '../test/noise.js';
import { matMulNBitsModel } from './onnx-model.js';
import { answerRequests } from './peer.js';

const SIZE = 4096;

env.wasm.numThreads = Number(process.argv[2]);
const codes = Uint8Array.from(noise((SIZE * SIZE) / 2), (value) => (value + 0.5) * 256);
const scales = noise((SIZE * SIZE) / 32).map((value) => 0.01 + value / 100);
const session = await InferenceSession.create(matMulNBitsModel(SIZE, codes, scales));
answerRequests((rows) => {
  const x = new Tensor('float32', noise(rows * SIZE), [rows, SIZE]);
  return async () => void (await session.run({ x }));
});
