export { type OpenCheckpointPathOptions, openCheckpointPath } from './checkpoint-path.js';
export { type FileSinkOptions, fileSink } from './file-sink.js';
export { fileSource } from './file-source.js';
