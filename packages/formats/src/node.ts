export { type OpenCheckpointPathOptions, openCheckpointPath } from './checkpoint-path.js';
export { type FileSinkOptions, fileSink } from './file-sink.js';
export { fileSource } from './file-source.js';
export { type EditGgufOptions, editGgufMetadata } from './gguf-edit-file.js';
export { mergeGgufSplits, type SplitGgufFileOptions, splitGgufFile } from './gguf-split-files.js';
