/**
 * One request to libllama in a process of its own, because llama.cpp aborts the process on some bad files.
 *
 *     node llama-worker.mjs <folder>
 *
 * Reads `request.json` (and the binary files that it names) from the folder, writes `response.json` and, for numbers,
 * `response.bin` there. llama.cpp's own messages go to standard error.
 */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';
import { measureSpeed } from './speed.mjs';
import {
  Batch,
  ContextParams,
  checkLayouts,
  GgufInitParams,
  ImatrixData,
  ModelParams,
  QuantizeParams,
} from './structs.mjs';

const F32 = 0;
const POOLING_NONE = 0;
const folder = process.argv[2];
const request = JSON.parse(readFileSync(join(folder, 'request.json'), 'utf8'));

// The order matters: each library finds the ones it needs among those that are loaded.
const base = koffi.load(request.libraries.ggmlBase, { global: true });
const ggml = koffi.load(request.libraries.ggml, { global: true });
const llama = koffi.load(request.libraries.llama, { global: true });
checkLayouts(llama);
ggml.func('ggml_backend_load_all_from_path', 'void', ['str'])(request.libraries.directory);
llama.func('llama_backend_init', 'void', [])();

function loadModel(path, options) {
  const params = llama.func('llama_model_default_params', ModelParams, [])();
  Object.assign(params, { n_gpu_layers: 0, use_extra_bufts: false }, options);
  const model = llama.func('llama_model_load_from_file', 'void *', ['str', ModelParams])(path, params);
  if (model === null) throw new Error('the model did not load');
  return model;
}

function vocabularyOf(model) {
  return llama.func('llama_model_get_vocab', 'void *', ['void *'])(model);
}

function vocabularySize(model) {
  return llama.func('llama_vocab_n_tokens', 'int32_t', ['void *'])(vocabularyOf(model));
}

/** Calls `use(logits, windowIndex)` with the logits of positions `from` and later of each window, `[positions, vocabulary]`. */
function runWindows({ path, windows, from, threads, repack }, use) {
  const model = loadModel(path, { use_extra_bufts: repack });
  const vocabulary = vocabularySize(model);
  const size = Math.max(1, ...windows.map((window) => window.length));
  const params = llama.func('llama_context_default_params', ContextParams, [])();
  Object.assign(params, {
    n_ctx: size,
    n_batch: size,
    n_ubatch: size,
    n_outputs_max: size,
    n_outputs_max_per_seq: size,
    n_threads: threads,
    n_threads_batch: threads,
    flash_attn_type: 0,
    type_k: F32,
    type_v: F32,
  });
  const context = llama.func('llama_init_from_model', 'void *', ['void *', ContextParams])(model, params);
  if (context === null) throw new Error('the context could not be made');
  const decode = llama.func('llama_decode', 'int32_t', ['void *', Batch]);
  const getLogits = llama.func('llama_get_logits', 'void *', ['void *']);
  const memory = llama.func('llama_get_memory', 'void *', ['void *'])(context);
  const clear = llama.func('llama_memory_clear', 'void', ['void *', 'bool']);
  for (const [index, window] of windows.entries()) {
    if (window.some((token) => !(Number.isInteger(token) && token >= 0 && token < vocabulary))) {
      throw new Error(`window ${index} has a token outside the vocabulary of ${vocabulary}`);
    }
    clear(memory, true);
    const scored = Math.max(0, window.length - from);
    if (scored === 0) {
      use(new Float32Array(0), index, vocabulary);
      continue;
    }
    const flags = Int8Array.from(window, (_, position) => (position >= from ? 1 : 0));
    const status = decode(context, {
      n_tokens: window.length,
      token: Int32Array.from(window),
      embd: null,
      pos: null,
      n_seq_id: null,
      seq_id: null,
      logits: flags,
    });
    if (status !== 0) throw new Error(`llama_decode of window ${index} returned ${status}`);
    use(new Float32Array(koffi.view(getLogits(context), scored * vocabulary * 4)), index, vocabulary);
  }
  return vocabulary;
}

/** Negative log-likelihood of `target` in nats, in double precision. */
function negativeLogLikelihood(logits, target) {
  let maximum = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > maximum) maximum = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - maximum);
  return Math.log(sum) + maximum - logits[target];
}

const operations = {
  logits(input) {
    const file = openSync(join(folder, 'response.bin'), 'w');
    const vocabulary = runWindows(input, (logits) => {
      writeSync(file, new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
    });
    closeSync(file);
    return { vocabulary };
  },

  embeddings({ path, windows, threads, repack }) {
    const model = loadModel(path, { use_extra_bufts: repack });
    const width = llama.func('llama_model_n_embd', 'int32_t', ['void *'])(model);
    const size = Math.max(1, ...windows.map((window) => window.length));
    const params = llama.func('llama_context_default_params', ContextParams, [])();
    Object.assign(params, {
      n_ctx: size,
      n_batch: size,
      n_ubatch: size,
      n_threads: threads,
      n_threads_batch: threads,
      flash_attn_type: 0,
      type_k: F32,
      type_v: F32,
      embeddings: true,
      pooling_type: POOLING_NONE,
    });
    const context = llama.func('llama_init_from_model', 'void *', ['void *', ContextParams])(model, params);
    if (context === null) throw new Error('the context could not be made');
    const encode = llama.func('llama_encode', 'int32_t', ['void *', Batch]);
    const getEmbeddings = llama.func('llama_get_embeddings', 'void *', ['void *']);
    const parts = windows.map((window, index) => {
      const status = encode(context, {
        n_tokens: window.length,
        token: Int32Array.from(window),
        embd: null,
        pos: null,
        n_seq_id: null,
        seq_id: null,
        logits: new Int8Array(window.length).fill(1),
      });
      if (status !== 0) throw new Error(`llama_encode of window ${index} returned ${status}`);
      return Buffer.from(koffi.view(getEmbeddings(context), window.length * width * 4).slice(0));
    });
    writeFileSync(join(folder, 'response.bin'), Buffer.concat(parts));
    return { width };
  },

  nll(input) {
    const losses = [];
    runWindows({ ...input, from: Math.max(0, input.from - 1) }, (logits, index, vocabulary) => {
      const window = input.windows[index];
      const first = Math.max(0, input.from - 1);
      for (let position = first; position + 1 < window.length; position++) {
        const start = (position - first) * vocabulary;
        losses.push(negativeLogLikelihood(logits.subarray(start, start + vocabulary), window[position + 1]));
      }
    });
    writeFileSync(join(folder, 'response.bin'), new Uint8Array(Float64Array.from(losses).buffer));
    return {};
  },

  speed({ path, repack, ...input }) {
    const model = loadModel(path, { use_extra_bufts: repack });
    return measureSpeed(llama, model, vocabularySize(model), input);
  },

  tokenize({ path, texts, addSpecial, parseSpecial }) {
    const vocabulary = vocabularyOf(loadModel(path, { vocab_only: true }));
    const call = llama.func('llama_tokenize', 'int32_t', [
      'void *',
      'void *',
      'int32_t',
      'void *',
      'int32_t',
      'bool',
      'bool',
    ]);
    return {
      tokens: texts.map((text) => {
        const utf8 = Buffer.from(text, 'utf8');
        const tokens = new Int32Array(utf8.length + 8);
        const count = call(vocabulary, utf8, utf8.length, tokens, tokens.length, addSpecial, parseSpecial);
        if (count < 0) throw new Error(`llama_tokenize returned ${count}`);
        return Array.from(tokens.subarray(0, count));
      }),
    };
  },

  detokenize({ path, sequences, removeSpecial, unparseSpecial }) {
    const vocabulary = vocabularyOf(loadModel(path, { vocab_only: true }));
    const call = llama.func('llama_detokenize', 'int32_t', [
      'void *',
      'void *',
      'int32_t',
      'void *',
      'int32_t',
      'bool',
      'bool',
    ]);
    return {
      texts: sequences.map((tokens) => {
        const ids = Int32Array.from(tokens);
        let utf8 = Buffer.alloc(tokens.length * 8 + 64);
        let length = call(vocabulary, ids, ids.length, utf8, utf8.length, removeSpecial, unparseSpecial);
        if (length < 0) {
          utf8 = Buffer.alloc(-length);
          length = call(vocabulary, ids, ids.length, utf8, utf8.length, removeSpecial, unparseSpecial);
        }
        return utf8.toString('utf8', 0, length);
      }),
    };
  },

  vocabulary({ path }) {
    const vocabulary = vocabularyOf(loadModel(path, { vocab_only: true }));
    const special = (name) => llama.func(`llama_vocab_${name}`, 'int32_t', ['void *'])(vocabulary);
    const text = llama.func('llama_vocab_get_text', 'str', ['void *', 'int32_t']);
    const size = llama.func('llama_vocab_n_tokens', 'int32_t', ['void *'])(vocabulary);
    return {
      size,
      bos: special('bos'),
      eos: special('eos'),
      addBos: llama.func('llama_vocab_get_add_bos', 'bool', ['void *'])(vocabulary),
      addEos: llama.func('llama_vocab_get_add_eos', 'bool', ['void *'])(vocabulary),
      tokens: Array.from({ length: size }, (_, id) => text(vocabulary, id)),
    };
  },

  describe({ path }) {
    const model = loadModel(path, {});
    const number = (name, result) => Number(llama.func(name, result, ['void *'])(model));
    const buffer = Buffer.alloc(256);
    const length = llama.func('llama_model_desc', 'int32_t', ['void *', 'void *', 'size_t'])(
      model,
      buffer,
      buffer.length,
    );
    return {
      description: buffer.toString('utf8', 0, Math.min(length, buffer.length - 1)),
      parameters: number('llama_model_n_params', 'uint64_t'),
      tensorBytes: number('llama_model_size', 'uint64_t'),
      layers: number('llama_model_n_layer', 'int32_t'),
      embedding: number('llama_model_n_embd', 'int32_t'),
      heads: number('llama_model_n_head', 'int32_t'),
      keyValueHeads: number('llama_model_n_head_kv', 'int32_t'),
      trainedContext: number('llama_model_n_ctx_train', 'int32_t'),
      vocabulary: vocabularySize(model),
    };
  },

  quantize({ inPath, outPath, ftype, threads, pure, allowRequantize, outputType, embeddingType, imatrix }) {
    const params = llama.func('llama_model_quantize_default_params', QuantizeParams, [])();
    Object.assign(params, { nthread: threads, ftype, pure, allow_requantize: allowRequantize });
    if (outputType !== undefined) params.output_tensor_type = outputType;
    if (embeddingType !== undefined) params.token_embedding_type = embeddingType;
    if (imatrix !== undefined) {
      const values = readFileSync(join(folder, 'imatrix.bin'));
      const entries = koffi.alloc(ImatrixData, imatrix.length + 1);
      imatrix.forEach(({ name, offset, length }, index) => {
        const bytes = koffi.alloc('float', length);
        koffi.encode(
          bytes,
          koffi.array('float', length),
          Float32Array.from({ length }, (_, i) => values.readFloatLE(offset + 4 * i)),
        );
        koffi.encode(entries, index * koffi.sizeof(ImatrixData), ImatrixData, { name, data: bytes, size: length });
      });
      koffi.encode(entries, imatrix.length * koffi.sizeof(ImatrixData), ImatrixData, {
        name: null,
        data: null,
        size: 0,
      });
      params.imatrix = entries;
    }
    const status = llama.func('llama_model_quantize', 'uint32_t', ['str', 'str', koffi.pointer(QuantizeParams)])(
      inPath,
      outPath,
      params,
    );
    if (status !== 0) throw new Error(`llama_model_quantize returned ${status}`);
    return {};
  },

  gguf({ path }) {
    const file = base.func('gguf_init_from_file', 'void *', ['str', GgufInitParams])(path, {
      no_alloc: true,
      ctx: null,
    });
    if (file === null) throw new Error('gguf_init_from_file refuses the file');
    const get = (name, result, ...indices) =>
      base.func(name, result, ['void *', ...indices.map(() => 'int64_t')])(file, ...indices);
    const typeName = base.func('gguf_type_name', 'str', ['int']);
    const ggmlName = base.func('ggml_type_name', 'str', ['int']);
    const ARRAY = 9;
    const STRING = 8;
    const getters = {
      0: 'u8',
      1: 'i8',
      2: 'u16',
      3: 'i16',
      4: 'u32',
      5: 'i32',
      6: 'f32',
      7: 'bool',
      8: 'str',
      10: 'u64',
      11: 'i64',
      12: 'f64',
    };
    const results = {
      u8: 'uint8_t',
      i8: 'int8_t',
      u16: 'uint16_t',
      i16: 'int16_t',
      u32: 'uint32_t',
      i32: 'int32_t',
      f32: 'float',
      bool: 'bool',
      str: 'str',
      u64: 'uint64_t',
      i64: 'int64_t',
      f64: 'double',
    };
    const json = (value) =>
      typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value)) ? String(value) : value;
    const keys = Array.from({ length: Number(get('gguf_get_n_kv', 'int64_t')) }, (_, id) => {
      const key = get('gguf_get_key', 'str', id);
      const type = get('gguf_get_kv_type', 'int', id);
      if (type !== ARRAY) {
        const getter = getters[type];
        return { key, type: typeName(type), value: json(get(`gguf_get_val_${getter}`, results[getter], id)) };
      }
      const elementType = get('gguf_get_arr_type', 'int', id);
      const count = Number(get('gguf_get_arr_n', 'size_t', id));
      const value =
        elementType === STRING
          ? Array.from({ length: count }, (_, i) => get('gguf_get_arr_str', 'str', id, i))
          : count === 0
            ? []
            : Array.from(
                koffi.decode(get('gguf_get_arr_data', 'void *', id), koffi.array(results[getters[elementType]], count)),
                json,
              );
      return { key, type: `${typeName(elementType)}[]`, value };
    });
    const tensors = Array.from({ length: Number(get('gguf_get_n_tensors', 'int64_t')) }, (_, id) => ({
      name: get('gguf_get_tensor_name', 'str', id),
      type: ggmlName(get('gguf_get_tensor_type', 'int', id)),
      ne: Array.from(koffi.decode(get('gguf_get_tensor_ne', 'void *', id), koffi.array('int64_t', 4)), Number),
      offset: Number(get('gguf_get_tensor_offset', 'size_t', id)),
      byteLength: Number(get('gguf_get_tensor_size', 'size_t', id)),
    }));
    return {
      version: get('gguf_get_version', 'uint32_t'),
      alignment: Number(get('gguf_get_alignment', 'size_t')),
      dataOffset: Number(get('gguf_get_data_offset', 'size_t')),
      keys,
      tensors,
    };
  },
};

let response;
try {
  response = { result: operations[request.operation](request.input) };
} catch (error) {
  response = { error: String(error?.message ?? error) };
}
writeFileSync(join(folder, 'response.json'), JSON.stringify(response));
