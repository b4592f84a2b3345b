const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** `10.49 MB`, decimal units as model hubs and llama.cpp print them. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(2)} ${UNITS[unit]}`;
}

/** `1,234,567` */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** Three or so significant digits, never in exponent form above 1e-6. */
export function formatSmall(value: number): string {
  if (value === 0) return '0';
  const digits = Math.min(7, Math.max(2, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return Math.abs(value) < 1e-6 ? value.toExponential(2) : value.toFixed(digits);
}

/** `12.3 s`, `4 min 05 s` */
export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}
