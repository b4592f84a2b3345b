/** ONNX Runtime in its two builds for Node, behind one call. */
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import type { OnnxModel, OnnxNode } from '../../src/onnx.js';

web.env.wasm.numThreads = 1;
web.env.logLevel = 'error';

export interface RuntimeSession {
  run(feeds: Record<string, RuntimeTensor>): Promise<Record<string, RuntimeTensor>>;
  release(): Promise<void>;
}

export interface RuntimeTensor {
  readonly type: string;
  readonly data: unknown;
  readonly dims: readonly number[];
}

export interface Runtime {
  readonly name: string;
  /** `files` are the model's external data by name. */
  open(model: Uint8Array, files?: Readonly<Record<string, Uint8Array>>): Promise<RuntimeSession>;
  tensor(type: string, data: unknown, dims: readonly number[]): RuntimeTensor;
}

function runtime(name: string, ort: typeof node): Runtime {
  return {
    name,
    async open(model, files = {}) {
      const externalData = Object.entries(files).map(([path, data]) => ({ path, data }));
      const session = await ort.InferenceSession.create(model, {
        externalData,
        intraOpNumThreads: 1,
        logSeverityLevel: 3,
      });
      return {
        run: async (feeds) => (await session.run(feeds as never)) as unknown as Record<string, RuntimeTensor>,
        release: () => session.release(),
      };
    },
    tensor: (type, data, dims) => new ort.Tensor(type as 'float32', data as Float32Array, dims) as RuntimeTensor,
  };
}

export const RUNTIMES: readonly Runtime[] = [
  runtime('onnxruntime-node', node),
  runtime('onnxruntime-web', web as unknown as typeof node),
];

/** A model of these nodes, with float matrices of any height as inputs and outputs. */
export function smallModel(
  nodes: readonly OnnxNode[],
  inputs: Readonly<Record<string, number>>,
  outputs: Readonly<Record<string, number>>,
): OnnxModel {
  const values = (columns: Readonly<Record<string, number>>) =>
    Object.entries(columns).map(([name, count]) => ({ name, dtype: 'f32' as const, shape: ['rows', count] }));
  return {
    irVersion: 10,
    producerName: 'test',
    producerVersion: '',
    domain: '',
    modelVersion: 0,
    docString: '',
    opsets: new Map([
      ['', 21],
      ['com.microsoft', 1],
    ]),
    metadata: new Map(),
    graph: { name: 'g', nodes, inputs: values(inputs), outputs: values(outputs) },
  };
}

/** Rows of the identity matrix: what is multiplied by them comes out as it is. */
export function identity(size: number): Float32Array {
  const values = new Float32Array(size * size);
  for (let i = 0; i < size; i++) values[i * size + i] = 1;
  return values;
}
