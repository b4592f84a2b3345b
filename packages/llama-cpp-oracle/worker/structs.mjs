/**
 * Parameter structs of libllama, for the build in `@node-llama-cpp/linux-x64` 3.22.1 (llama.cpp v0.5.0).
 *
 * The names follow llama.h. The layout was read from what the `*_default_params` functions write; fields whose meaning
 * stayed unknown are called `reserved` and keep their defaults. `checkLayouts` refuses a library that writes otherwise.
 */
import koffi from 'koffi';

export const ModelParams = koffi.struct('llama_model_params', {
  devices: 'void *', // 0
  tensor_buft_overrides: 'void *', // 8
  n_gpu_layers: 'int32_t', // 16, default -1
  split_mode: 'int32_t', // 20, default 1
  load_mode: 'int32_t', // 24, default -1 (auto); 0 none, 1 mmap, 2 mlock, 3 mmap + mlock, 4 direct
  reserved: 'int32_t', // 28, default 1
  main_gpu: 'int32_t', // 32
  tensor_split: 'void *', // 40
  progress_callback: 'void *', // 48
  progress_callback_user_data: 'void *', // 56
  kv_overrides: 'void *', // 64
  vocab_only: 'bool', // 72
  check_tensors: 'bool', // 73
  use_extra_bufts: 'bool', // 74, default true: repack weights for the CPU's kernels
  no_host: 'bool', // 75
  no_alloc: 'bool', // 76
  load_mtp: 'bool', // 77
});

export const ContextParams = koffi.struct('llama_context_params', {
  n_ctx: 'uint32_t', // 0, default 512
  n_batch: 'uint32_t', // 4, default 2048
  n_ubatch: 'uint32_t', // 8, default 512
  n_seq_max: 'uint32_t', // 12, default 1
  n_rs_seq: 'uint32_t', // 16
  n_outputs_max: 'uint32_t', // 20
  n_outputs_max_per_seq: 'uint32_t', // 24, default 1
  n_threads: 'int32_t', // 28, default 4
  n_threads_batch: 'int32_t', // 32, default 4
  ctx_type: 'int32_t', // 36
  rope_scaling_type: 'int32_t', // 40, default -1
  pooling_type: 'int32_t', // 44, default -1
  attention_type: 'int32_t', // 48, default -1
  flash_attn_type: 'int32_t', // 52, default -1 (auto); 0 off, 1 on
  rope_freq_base: 'float', // 56
  rope_freq_scale: 'float', // 60
  yarn_ext_factor: 'float', // 64, default -1
  yarn_attn_factor: 'float', // 68, default -1
  yarn_beta_fast: 'float', // 72, default -1
  yarn_beta_slow: 'float', // 76, default -1
  yarn_orig_ctx: 'uint32_t', // 80
  defrag_thold: 'float', // 84, default -1
  cb_eval: 'void *', // 88
  cb_eval_user_data: 'void *', // 96
  type_k: 'int32_t', // 104, default 1 (F16)
  type_v: 'int32_t', // 108, default 1 (F16)
  abort_callback: 'void *', // 112
  abort_callback_data: 'void *', // 120
  embeddings: 'bool', // 128
  offload_kqv: 'bool', // 129, default true
  no_perf: 'bool', // 130, default true
  op_offload: 'bool', // 131, default true
  swa_full: 'bool', // 132, default true
  kv_unified: 'bool', // 133
  samplers: 'void *', // 136
  n_samplers: 'size_t', // 144
  ctx_other: 'void *', // 152
});

export const Batch = koffi.struct('llama_batch', {
  n_tokens: 'int32_t',
  token: 'int32_t *',
  embd: 'float *',
  pos: 'int32_t *',
  n_seq_id: 'int32_t *',
  seq_id: 'void *',
  logits: 'int8_t *',
});

export const ImatrixData = koffi.struct('llama_model_imatrix_data', { name: 'str', data: 'float *', size: 'size_t' });

export const QuantizeParams = koffi.struct('llama_model_quantize_params', {
  nthread: 'int32_t', // 0
  ftype: 'int32_t', // 4, default 7 (Q8_0)
  output_tensor_type: 'int32_t', // 8, default 43 (GGML_TYPE_COUNT: by the mixture)
  token_embedding_type: 'int32_t', // 12, default 43
  allow_requantize: 'bool', // 16
  quantize_output_tensor: 'bool', // 17, default true
  only_copy: 'bool', // 18
  pure: 'bool', // 19
  keep_split: 'bool', // 20
  dry_run: 'bool', // 21
  imatrix: 'void *', // 24, ends with an entry whose name is null
  kv_overrides: 'void *', // 32
  tt_overrides: 'void *', // 40
  prune_layers: 'void *', // 48
  reserved: 'int32_t', // 56, default 0
  reserved2: 'int32_t', // 60, default 2
});

export const GgufInitParams = koffi.struct('gguf_init_params', { no_alloc: 'bool', ctx: 'void *' });

/** What the defaults of this build are; another build with another layout will not give the same. */
const EXPECTED = [
  [
    'llama_model_default_params',
    ModelParams,
    { n_gpu_layers: -1, split_mode: 1, load_mode: -1, main_gpu: 0, vocab_only: false, use_extra_bufts: true },
  ],
  [
    'llama_context_default_params',
    ContextParams,
    {
      n_ctx: 512,
      n_batch: 2048,
      n_ubatch: 512,
      n_seq_max: 1,
      n_threads: 4,
      n_threads_batch: 4,
      flash_attn_type: -1,
      yarn_ext_factor: -1,
      defrag_thold: -1,
      type_k: 1,
      type_v: 1,
      offload_kqv: true,
      kv_unified: false,
    },
  ],
  [
    'llama_model_quantize_default_params',
    QuantizeParams,
    {
      nthread: 0,
      ftype: 7,
      output_tensor_type: 43,
      allow_requantize: false,
      quantize_output_tensor: true,
      pure: false,
    },
  ],
];

/** Throws when the library's default parameters do not fit the structs above in size or values. */
export function checkLayouts(llama) {
  for (const [name, type, expected] of EXPECTED) {
    const write = llama.func(name, 'void', ['void *']);
    // Structs of this size are returned through a pointer in the first argument (System V ABI).
    const [first, second] = [0xaa, 0x55].map((fill) => {
      const bytes = Buffer.alloc(512, fill);
      write(bytes);
      return bytes;
    });
    let size = first.length;
    while (size > 0 && first[size - 1] === 0xaa && second[size - 1] === 0x55) size--;
    const rounded = Math.ceil(size / 8) * 8;
    if (rounded !== koffi.sizeof(type)) {
      throw new Error(`${type.name} has ${rounded} bytes in this library, ${koffi.sizeof(type)} are known`);
    }
    const values = koffi.decode(first, type);
    for (const [field, value] of Object.entries(expected)) {
      if (values[field] !== value) throw new Error(`${type.name}.${field} is ${values[field]}, expected ${value}`);
    }
  }
}
