/** Buffers that are reused between calls and grow to the largest size asked for. */
export interface Scratch {
  /** At least `length` float32 values, with whatever was left in them. The same buffer for the same name. */
  float32(name: string, length: number): Float32Array;
  float64(name: string, length: number): Float64Array;
}

export function scratch(): Scratch {
  const singles = new Map<string, Float32Array>();
  const doubles = new Map<string, Float64Array>();
  return {
    float32(name, length) {
      let buffer = singles.get(name);
      if (buffer === undefined || buffer.length < length) {
        buffer = new Float32Array(length);
        singles.set(name, buffer);
      }
      return buffer;
    },
    float64(name, length) {
      let buffer = doubles.get(name);
      if (buffer === undefined || buffer.length < length) {
        buffer = new Float64Array(length);
        doubles.set(name, buffer);
      }
      return buffer;
    },
  };
}
