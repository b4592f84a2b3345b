import { defineConfig } from 'tsup';

export default defineConfig({
  entry: [
    'src/index.ts',
    'src/node.ts',
    'src/layouts.ts',
    'src/npy.ts',
    'src/onnx.ts',
    'src/hub.ts',
    'src/conformance.ts',
  ],
  format: 'esm',
  target: 'es2022',
  sourcemap: true,
  clean: true,
  dts: false,
  removeNodeProtocol: false,
  // The splitter leaves imports for side effects that are not there; bundlers warn of them.
  treeshake: { moduleSideEffects: false },
});
