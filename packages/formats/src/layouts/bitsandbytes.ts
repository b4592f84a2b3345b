import { HalftoneError, type JsonObject, type WeightLayout } from '@halftone/tensor';
import { fourBitWeights, hasFourBitWeights } from './bitsandbytes-4bit.js';
import { hasInt8Weights, int8Weights, splitInt8 } from './bitsandbytes-int8.js';
import { splitFourBit } from './internal/bitsandbytes-4bit-writer.js';
import { commonSetting, unquantizedModules } from './internal/runtime-config.js';
import { quantizationConfig, quantMethod } from './internal/settings.js';

const WHERE = 'bitsandbytes';

/**
 * The weights of bitsandbytes: NF4 and FP4 with plain or nested scales, and LLM.int8().
 *
 * Written weights run in transformers and vLLM. NF4 and FP4 take any tensor with those tables whose scales belong to flat
 * blocks of 64 to 4096 elements; int8 takes symmetric codes of 8 bits with one scale a row that is a float32 divided by 127.
 * `scheme.params.dtype` of a 4-bit weight is what the runtime decodes to; `bfloat16` where it is not given.
 *
 * Source: bitsandbytes, `functional.py` (`QuantState`, `create_dynamic_map`), `nn/modules.py`; QLoRA (arXiv 2305.14314),
 * LLM.int8() (arXiv 2208.07339).
 */
export const bitsandbytes: WeightLayout = {
  name: WHERE,
  detect(checkpoint, config) {
    const method = quantMethod(quantizationConfig(config)) ?? WHERE;
    return method === WHERE && (hasFourBitWeights(checkpoint) || hasInt8Weights(checkpoint));
  },
  async weights(checkpoint, _config, options) {
    const found = [...(await fourBitWeights(checkpoint, options)), ...(await int8Weights(checkpoint, options))];
    return new Map(found.map((weight) => [weight.name, weight]));
  },
  writer: {
    split(name, weight) {
      return weight.scheme.grid.type === 'affine' ? splitInt8(name, weight) : splitFourBit(name, weight);
    },
    config(weights, plain) {
      const bits = commonSetting<number>(weights, 'bits', WHERE);
      const quantType = commonSetting<string>(weights, 'quantType', WHERE) ?? 'fp4';
      const dtype = commonSetting<string>(weights, 'dtype', WHERE) ?? 'float32';
      const doubleQuant = [...weights.values()].some((settings) => settings['doubleQuant'] === true);
      const skipped = unquantizedModules(weights, plain);
      if (bits === undefined) {
        throw new HalftoneError('UNSUPPORTED', 'there are no quantized weights to describe', { where: WHERE });
      }
      return { quantization_config: transformersConfig({ bits, quantType, dtype, doubleQuant, skipped }) };
    },
  },
};

/** All keys of transformers' `BitsAndBytesConfig`, in its order. */
function transformersConfig(settings: {
  readonly bits: number;
  readonly quantType: string;
  readonly dtype: string;
  readonly doubleQuant: boolean;
  readonly skipped: readonly string[];
}): JsonObject {
  const { bits, quantType, dtype, doubleQuant, skipped } = settings;
  return {
    _load_in_4bit: bits === 4,
    _load_in_8bit: bits === 8,
    bnb_4bit_compute_dtype: dtype,
    bnb_4bit_quant_storage: 'uint8',
    bnb_4bit_quant_type: quantType,
    bnb_4bit_use_double_quant: doubleQuant,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: skipped,
    llm_int8_threshold: 6,
    load_in_4bit: bits === 4,
    load_in_8bit: bits === 8,
    quant_method: WHERE,
  };
}
