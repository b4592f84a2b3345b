import { HalftoneError } from '@halftone/tensor';
import { relaxedModule } from '../generated/relaxed.js';
import { simdModule } from '../generated/simd.js';
import { arena } from './arena.js';
import { decodeBase64 } from './base64.js';
import type { WasmBuild } from './layout.js';
import { passesSelfTest } from './self-test.js';

export interface CompiledBuild {
  readonly build: WasmBuild;
  readonly module: WebAssembly.Module;
}

/** The relaxed build where it validates and computes right, else the SIMD build. */
export function newestBuild(): CompiledBuild {
  try {
    return compileBuild('relaxed');
  } catch {
    return compileBuild('simd');
  }
}

/** Throws `UNSUPPORTED` when the engine refuses the module or computes wrong results with it. */
export function compileBuild(build: WasmBuild): CompiledBuild {
  if (typeof WebAssembly === 'undefined') return refuse(build, 'WebAssembly is missing');
  const bytes = decodeBase64(build === 'relaxed' ? relaxedModule : simdModule);
  if (!WebAssembly.validate(bytes)) return refuse(build, 'the engine does not know its instructions');
  const module = new WebAssembly.Module(bytes);
  if (!passesSelfTest(build, arena(module, 2 ** 20))) return refuse(build, 'the engine computes wrong results with it');
  return { build, module };
}

function refuse(build: WasmBuild, why: string): never {
  throw new HalftoneError('UNSUPPORTED', `the ${build} build cannot run here: ${why}; use another backend`, {
    where: 'wasmBackend',
    details: { build },
  });
}
