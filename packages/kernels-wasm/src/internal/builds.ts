import { HalftoneError } from '@halftone/tensor';
import { arena } from './arena.js';
import { compiledModule, moduleBytes } from './compiled-module.js';
import type { WasmBuild } from './layout.js';
import { PRODUCTS } from './modules/products.js';
import { passesSelfTest } from './self-test.js';

/** The relaxed build where it validates and computes right, else the SIMD build with a note that says why. */
export function chooseBuild(
  wanted: 'auto' | WasmBuild,
  shared: boolean,
): { readonly build: WasmBuild; readonly note?: string } {
  if (typeof WebAssembly === 'undefined') throw refused('simd', 'WebAssembly is missing');
  if (wanted === 'auto') {
    const reason = refusal('relaxed', shared);
    if (reason === undefined) return { build: 'relaxed' };
    return { ...chooseBuild('simd', shared), note: `the relaxed build is not used: ${reason}` };
  }
  const reason = refusal(wanted, shared);
  if (reason !== undefined) throw refused(wanted, reason);
  return { build: wanted };
}

function refusal(build: WasmBuild, shared: boolean): string | undefined {
  const bytes = moduleBytes(PRODUCTS, build, shared);
  if (!WebAssembly.validate(bytes)) return 'the engine does not know its instructions';
  const module = compiledModule(0, bytes);
  return passesSelfTest(build, module, arena(0, 2 ** 20, shared))
    ? undefined
    : 'the engine computes wrong results with it';
}

function refused(build: WasmBuild, why: string): HalftoneError {
  return new HalftoneError('UNSUPPORTED', `the ${build} build cannot run here: ${why}; use another backend`, {
    where: 'wasmRuntime',
    details: { build },
  });
}
