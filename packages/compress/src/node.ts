export { type FileOutputOptions, outputFile, outputFolder } from './file-output.js';
