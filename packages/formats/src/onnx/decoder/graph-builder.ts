import type { DType, Shape } from '@halftone/tensor';
import type { OnnxAttribute, OnnxInitializer, OnnxNode } from '../model.js';
import type { OnnxPart } from './parts.js';

/** A weight that goes to the file of external data. */
export interface PlannedInitializer {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly part: OnnxPart;
}

export type Attributes = Readonly<Record<string, OnnxAttribute>>;

/** Collects nodes in the order in which they run. Values are named after the nodes that make them. */
export interface GraphBuilder {
  readonly nodes: OnnxNode[];
  /** Small ones, which lie in the model itself. */
  readonly constants: OnnxInitializer[];
  readonly weights: PlannedInitializer[];
  /** Adds a node with one output and gives the output's name: `name`, or one made from it that is new. */
  node(opType: string, name: string, inputs: readonly string[], attributes?: Attributes): string;
  /** A node with several outputs. */
  split(name: string, input: string, outputs: number, axis: number): string[];
  /** A node of com.microsoft, ONNX Runtime's own operators. */
  microsoft(opType: string, name: string, inputs: readonly string[], attributes: Attributes): string;
  /** A list of whole numbers, as shapes and axes are given. */
  ints(...values: number[]): string;
  scalarInt(value: number): string;
  scalar(value: number): string;
  weight(initializer: PlannedInitializer): string;
}

export const int = (value: number): OnnxAttribute => ({ type: 'int', value });
export const ints = (...value: number[]): OnnxAttribute => ({ type: 'ints', value });
export const float = (value: number): OnnxAttribute => ({ type: 'float', value });
export const string = (value: string): OnnxAttribute => ({ type: 'string', value });

export function graphBuilder(): GraphBuilder {
  const nodes: OnnxNode[] = [];
  const constants = new Map<string, OnnxInitializer>();
  const list: OnnxInitializer[] = [];
  const weights = new Map<string, PlannedInitializer>();
  const planned: PlannedInitializer[] = [];
  const taken = new Map<string, number>();

  function fresh(name: string): string {
    const count = taken.get(name) ?? 0;
    taken.set(name, count + 1);
    return count === 0 ? name : fresh(`${name}_${count}`);
  }

  function add(
    domain: string,
    opType: string,
    name: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Attributes,
  ): void {
    nodes.push({ name, opType, domain, inputs, outputs, attributes: new Map(Object.entries(attributes)) });
  }

  function single(
    domain: string,
    opType: string,
    name: string,
    inputs: readonly string[],
    attributes: Attributes,
  ): string {
    const output = fresh(name);
    add(domain, opType, output, inputs, [output], attributes);
    return output;
  }

  function constant(name: string, dtype: DType, shape: Shape, data: Uint8Array): string {
    if (!constants.has(name)) {
      const initializer = { name, dtype, shape, data };
      constants.set(name, initializer);
      list.push(initializer);
    }
    return name;
  }

  const wholeNumbers = (values: readonly number[]) => new Uint8Array(BigInt64Array.from(values, BigInt).buffer);

  return {
    nodes,
    constants: list,
    weights: planned,
    node: (opType, name, inputs, attributes = {}) => single('', opType, name, inputs, attributes),
    split(name, input, outputs, axis) {
      const names = Array.from({ length: outputs }, () => fresh(name));
      add('', 'Split', names[0] as string, [input], names, { axis: int(axis), num_outputs: int(outputs) });
      return names;
    },
    microsoft: (opType, name, inputs, attributes) => single('com.microsoft', opType, name, inputs, attributes),
    ints: (...values) => constant(`ints_${values.join('_')}`, 'i64', [values.length], wholeNumbers(values)),
    scalarInt: (value) => constant(`int_${value}`, 'i64', [], wholeNumbers([value])),
    scalar: (value) => constant(`float_${value}`, 'f32', [], new Uint8Array(Float32Array.of(value).buffer)),
    weight(initializer) {
      if (!weights.has(initializer.name)) {
        weights.set(initializer.name, initializer);
        planned.push(initializer);
      }
      return initializer.name;
    },
  };
}
