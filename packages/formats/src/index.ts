export { type GgufCheckpoint, type GgufCodec, gguf, isGgufCheckpoint } from './gguf.js';
export {
  type GgufMetadataEntry,
  type GgufScalarType,
  type GgufValue,
  type GgufValueType,
} from './gguf-types.js';
export { type MemorySink, memorySink } from './memory-sink.js';
export { arrayBufferSource, blobSource } from './memory-source.js';
export { type OpenCheckpointOptions, openCheckpoint } from './open-checkpoint.js';
export { safetensors } from './safetensors.js';
