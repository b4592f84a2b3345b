import { HalftoneError, type KernelBackend, tensor } from '@halftone/tensor';

/** `[out, in] = [3, 5]`, and two rows of inputs. Small whole numbers: every order of summation gives the same floats. */
const WEIGHT = [1, 2, 3, 4, 5, -1, 0, 1, 0, -1, 2, -2, 2, -2, 2];
const BIAS = [10, 20, 30];
const INPUTS = [1, 1, 1, 1, 1, 0, 1, -2, 3, 4];
/** Computed by hand. */
const EXPECTED = [25, 19, 32, 38, 14, 26];

/** Multiplies a small matrix and throws `NUMERIC` unless the result is exactly the known one. */
export async function checkProduct(backend: KernelBackend): Promise<void> {
  const weight = backend.uploadLinear(tensor(Float32Array.from(WEIGHT), [3, 5]), Float32Array.from(BIAS));
  const out = new Float32Array(EXPECTED.length);
  await backend.linear(weight, Float32Array.from(INPUTS), 2, out);
  backend.release(weight);
  if (EXPECTED.every((value, i) => out[i] === value)) return;
  throw new HalftoneError('NUMERIC', `${backend.name} gives ${out.join(', ')} instead of ${EXPECTED.join(', ')}`, {
    where: 'checkProduct',
  });
}
