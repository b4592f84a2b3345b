import { HalftoneError } from '@halftone/tensor';
import type { ModelDescription } from '../../gguf-model/model-description.js';
import { llama3RopeDivisors } from '../../gguf-model/rope-factors.js';
import { WHERE } from './decoder-weights.js';
import type { GraphBuilder } from './graph-builder.js';

/** Cosines and sines of the tokens' positions, `[batch, 1, new, headDim / 2]`. */
export interface RotaryTables {
  readonly cosines: string;
  readonly sines: string;
}

/**
 * Tables for every position, looked up by `position_ids`: exact where sines computed from float32 angles in the graph
 * would not be, and the same for every kind of scaling. Takes `4 * headDim` bytes for each position.
 */
export function rotaryTables(graph: GraphBuilder, description: ModelDescription, positions: number): RotaryTables {
  const frequencies = rotaryFrequencies(description);
  const shape = [positions, frequencies.length];
  const table = (from: 'cosines' | 'sines') => {
    const part = { from, frequencies, positions };
    const whole = graph.weight({ name: `rotary.${from}`, dtype: 'f32', shape, part });
    const rows = graph.node('Gather', `rotary.${from}.rows`, [whole, 'position_ids']);
    return graph.node('Unsqueeze', `rotary.${from}.heads`, [rows, graph.ints(1)]);
  };
  return { cosines: table('cosines'), sines: table('sines') };
}

/**
 * Radians a position for each pair of channels. Throws `UNSUPPORTED` for scaling whose lengths change with the
 * sequence.
 */
export function rotaryFrequencies({ ropeTheta, ropeScaling, sizes }: ModelDescription): Float64Array {
  const { headDim } = sizes;
  const plain = Float64Array.from({ length: headDim / 2 }, (_, pair) => ropeTheta ** ((-2 * pair) / headDim));
  if (ropeScaling === undefined) return plain;
  switch (ropeScaling.type) {
    case 'linear':
      return plain.map((frequency) => frequency / ropeScaling.factor);
    case 'llama3': {
      const divisors = llama3RopeDivisors(ropeScaling, ropeTheta, headDim);
      return plain.map((frequency, pair) => frequency / (divisors[pair] as number));
    }
    case 'factors':
      return plain.map((frequency, pair) => frequency / (ropeScaling.factors[pair] as number));
    default:
      throw new HalftoneError('UNSUPPORTED', `rotary scaling '${ropeScaling.type}' is not exported to ONNX`, {
        where: WHERE,
        details: { scaling: ropeScaling.type },
      });
  }
}
