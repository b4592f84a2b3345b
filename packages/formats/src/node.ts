export { type FileSinkOptions, fileSink } from './file-sink.js';
export { fileSource } from './file-source.js';
