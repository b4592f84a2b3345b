import type { DecoderDescription } from './describe-decoder.js';
import type { GraphBuilder } from './graph-builder.js';

/** Cosines and sines of the tokens' positions, `[batch, 1, new, headDim / 2]`. */
export interface RotaryTables {
  readonly cosines: string;
  readonly sines: string;
}

/**
 * Tables for every position, looked up by `position_ids`: exact where sines computed from float32 angles in the graph would not
 * be, and the same for every kind of scaling. Takes `4 * headDim` bytes for each position.
 */
export function rotaryTables(graph: GraphBuilder, description: DecoderDescription, positions: number): RotaryTables {
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

/** Radians a position for each pair of channels. */
export function rotaryFrequencies({ ropeTheta, ropeDivisors, sizes }: DecoderDescription): Float64Array {
  const { headDim } = sizes;
  const frequency = (pair: number) => ropeTheta ** ((-2 * pair) / headDim) / (ropeDivisors?.[pair] ?? 1);
  return Float64Array.from({ length: headDim / 2 }, (_, pair) => frequency(pair));
}
