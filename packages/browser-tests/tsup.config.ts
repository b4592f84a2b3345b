import { defineConfig } from 'tsup';

export default defineConfig({
  entry: ['src/index.ts', 'src/page.ts', 'src/worker.ts', 'src/only-wasm-backend.ts', 'src/only-defaults.ts'],
  format: 'esm',
  target: 'es2022',
  sourcemap: true,
  clean: true,
  dts: false,
  removeNodeProtocol: false,
});
