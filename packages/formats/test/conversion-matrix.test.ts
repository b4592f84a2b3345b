import { dequantize, isHalftoneError, type QuantizedTensor, type WeightLayout } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { repackAsGgml, unpackGgml } from '../src/index.js';
import { compressedTensors, gptq, WEIGHT_LAYOUTS } from '../src/layouts.js';
import { packMatMulNBits, unpackMatMulNBits } from '../src/onnx.js';
import { type ConversionSample, conversionSamples } from './support/conversion-samples.js';
import { layoutFile, readWeight } from './support/layout-file.js';

const DOCUMENT = '../../../docs/conversion-matrix.md';

interface Target {
  readonly name: string;
  /** Writes the weight and reads it again. Throws `UNSUPPORTED` with the reason. */
  roundTrip(weight: QuantizedTensor): Promise<QuantizedTensor>;
}

const throughLayout = (layout: WeightLayout, name = layout.name): Target => ({
  name,
  async roundTrip(weight) {
    const { file, config } = await layoutFile(layout, new Map([['model.layers.0.mlp.up_proj.weight', weight]]));
    return readWeight(layout, file, config);
  },
});

const TARGETS: readonly Target[] = [
  { name: 'GGUF', roundTrip: async (weight) => unpackGgml(repackAsGgml(weight)) },
  throughLayout(gptq(), 'gptq v1'),
  throughLayout(gptq({ version: 'v2' }), 'gptq v2'),
  ...WEIGHT_LAYOUTS.filter(({ name, writer }) => writer && name !== 'gptq' && name !== 'compressed-tensors').map(
    (layout) => throughLayout(layout),
  ),
  throughLayout(compressedTensors()),
  { name: 'ONNX', roundTrip: async (weight) => unpackMatMulNBits(packMatMulNBits(weight)) },
];

/** Undefined when what is read equals what was written; else why it is refused. */
async function refusal({ weight }: ConversionSample, target: Target): Promise<string | undefined> {
  let back: QuantizedTensor;
  try {
    back = await target.roundTrip(weight);
  } catch (error) {
    if (!isHalftoneError(error)) throw error;
    expect(error.code, `${target.name}: ${error.message}`).toMatch(/^(UNSUPPORTED|RANGE|SHAPE)$/);
    return error.message.replace(/^(\[[^\]]*\] )+/, '').replace('model.layers.0.mlp.up_proj.weight: ', '');
  }
  const expected = dequantize(weight);
  const actual = dequantize(back);
  const same = (a: number, b: number) => a === b || (Number.isNaN(a) && Number.isNaN(b));
  const differs = expected.findIndex((value, i) => !same(value, actual[i]));
  expect(differs, `${target.name}: ${expected[differs]} came back as ${actual[differs]}`).toBe(-1);
  return undefined;
}

describe('conversion matrix', () => {
  it('reads back identical floats from every exact cell, and gives a reason in every other', async () => {
    const rows: string[] = [];
    const reasons: string[] = [];
    for (const sample of conversionSamples()) {
      const cells: string[] = [];
      for (const target of TARGETS) {
        const reason = await refusal(sample, target);
        if (reason === undefined) cells.push('exact');
        else {
          if (!reasons.includes(reason)) reasons.push(reason);
          cells.push(`[${reasons.indexOf(reason) + 1}](#refusals)`);
        }
      }
      rows.push(`| ${sample.name} | ${cells.join(' | ')} |`);
    }
    const header = `| weight | ${TARGETS.map(({ name }) => name).join(' | ')} |\n|---|${'---|'.repeat(TARGETS.length)}`;
    const list = reasons.map((reason, i) => `${i + 1}. ${reason}`).join('\n');
    await expect(`${INTRODUCTION}\n${header}\n${rows.join('\n')}\n\n## Refusals\n\n${list}\n`).toMatchFileSnapshot(
      DOCUMENT,
    );
  }, 60_000);
});

const INTRODUCTION = `# Conversion matrix

Which quantized weights each format holds exactly. "Exact" means that a weight was written, read again and decoded to identical
float32 values; a number is the reason with which the writer refuses. Nothing is rounded silently.

Weights are \`[128, 256]\`. Scales of integers have five bits, so that every format holds them and the products of scales and
zeros: with scales of full precision, Q4_1 and MLX, which store the product, refuse weights whose products they would round. The table is made by
\`packages/formats/test/conversion-matrix.test.ts\` (run it with \`-u\` after a change), from the code of the writers and readers.
`;
