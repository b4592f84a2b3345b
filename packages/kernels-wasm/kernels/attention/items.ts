import { CALL, SEGMENT_BYTES, SIDE_BYTES, SPLIT, TILE } from '../../src/internal/attention-layout.js';

/**
 * The walk over the entries. An item is one key/value head, one tile of rows and one split of the entries; its query vectors
 * are the rows' queries of all heads of the group, `[row][head of the group]`. Not `coded`: entries are float32.
 */
export function itemsSource(coded: boolean): string {
  // Branches on a constant 0 are not compiled.
  const group = (side: string) => (coded ? `codedGroup(${side}, d, queries)` : '0');
  return `
/** Items \`first .. first + count\` of a call; \`scratch\` is this thread's. */
export function attendItems(call: usize, first: i32, count: i32, scratch: usize): void {
  do attendItem(call, first++, scratch); while (--count);
}

function attendItem(call: usize, item: i32, scratch: usize): void {
  const d = load<i32>(call, ${CALL.headDim}), depth = (d + 3) & ~3, steps = depth >> 2;
  const group = load<i32>(call, ${CALL.group}), heads = load<i32>(call, ${CALL.heads});
  const tiles = load<i32>(call, ${CALL.tiles}), splits = load<i32>(call, ${CALL.splits});
  const split = item % splits, tile = item / splits % tiles, kvHead = item / splits / tiles;
  const row = tile * load<i32>(call, ${CALL.rowsPerTile});
  const rows = min(load<i32>(call, ${CALL.rowsPerTile}), load<i32>(call, ${CALL.rows}) - row), queries = rows * group;
  const splitStart = splits == 1 ? 0 : split * ${SPLIT}, splitEnd = splits == 1 ? i32.MAX_VALUE : splitStart + ${SPLIT};
  const ranges = load<usize>(call, ${CALL.ranges}) + (<usize>(kvHead * load<i32>(call, ${CALL.rows}) + row) << 3);

  // Some row sees an entry from low to high; every row sees those from innerLow to innerHigh.
  let low = i32.MAX_VALUE, high = 0, innerLow = 0, innerHigh = i32.MAX_VALUE;
  for (let i = 0; i < rows; i++) {
    const start = max(load<i32>(ranges + (i << 3)), splitStart), end = min(load<i32>(ranges + (i << 3), 4), splitEnd);
    if (start < end) { low = min(low, start); high = max(high, end); }
    innerLow = max(innerLow, start); innerHigh = min(innerHigh, end);
  }

  const size = <usize>queries * <usize>depth << 2;
  const q = scratch, o = q + size, s = o + size, states = s + <usize>queries * ${4 * TILE};
  const buffer = (states + (<usize>queries << 3) + 15) & ~15;
  clearStates(states, queries);
  memory.fill(o, 0, size);
  if (low < high) {
    const query = load<usize>(call, ${CALL.query}) + (<usize>(row * heads + kvHead * group) * d << 2), scale = load<f32>(call, ${CALL.scale});
    const keys = load<usize>(call, ${CALL.segments}) + kvHead * ${SEGMENT_BYTES}, values = keys + ${SIDE_BYTES};
    const keyGroup = ${group('keys')}, valueGroup = ${group('values')}, words = q + (size >> 1);
    // Words and their scales take the place of the queries in float32.
    if (keyGroup) roundQueries(query, heads, rows, group, d, keyGroup, scale, q, words, buffer);
    else packQueries(query, heads, rows, group, d, steps, scale, q);
    for (let t = low; t < high; t += ${TILE}) {
      const entries = min(high - t, ${TILE}), edge = t < innerLow || t + entries > innerHigh;
      if (keyGroup) scoreCodes(keys, t, entries, d, keyGroup, q, words, queries, s);
      else scoreTile(keys, t, entries, d, steps, q, queries, buffer, s);
      if (edge) weighEdge(s, rows, group, ranges, t, entries, states, o, steps);
      else weighTile(s, queries, entries, states, o, steps);
      if (valueGroup) addCodes(values, t, entries, d, valueGroup, s, rows, group, ranges, o, buffer);
      else {
        const v = entryRows(values, t, entries, d, depth, buffer);
        if (edge) addEdge(s, rows, group, ranges, t, entries, v, o, steps);
        else addValues(s, queries, v, steps, entries, o);
      }
    }
  }
  writeTile(call, split * load<i32>(call, ${CALL.rows}) + row, kvHead * group, rows, group, heads, d, depth, states, o);
}

function clearStates(states: usize, queries: i32): void {
  do { store<f32>(states, -Infinity); store<f32>(states, 0, 4); states += 8; } while (--queries);
}

/** Queries times the scale, in the order of \`scores\`. */
function packQueries(from: usize, heads: i32, rows: i32, group: i32, d: i32, steps: i32, scale: f32, q: usize): void {
  const factor = f32x4.splat(scale);
  let left = rows * group, head = 0, p = from;
  do {
    const size = queryBlock(left), stride = <usize>size << 4;
    for (let lane = 0; lane < size; lane++) {
      let to = q + (<usize>lane << 4), i = d >> 2;
      while (i > 0) { v128.store(to, f32x4.mul(v128.load(p), factor)); p += 16; to += stride; --i; }
      if (d & 3) v128.store(to, i32x4.splat(0));
      for (i = d & 3; i > 0; --i) { store<f32>(to, load<f32>(p) * scale); p += 4; to += 4; }
      if (++head == group) { head = 0; p += <usize>((heads - group) * d) << 2; }
    }
    q += <usize>steps * stride; left -= size;
  } while (left);
}

/** Scores with \`entries\` keys; past them, up to the next multiple of 4, scores of -infinity. */
function scoreTile(side: usize, t: i32, entries: i32, d: i32, steps: i32, q: usize, queries: i32, buffer: usize, s: usize): void {
  const keys = entryRows(side, t, entries, d, steps << 2, buffer), whole = entries & ~3, stride = <usize>steps << 4;
  if (whole) scores(q, queries, keys, steps, whole, s);
  if (whole == entries) return;
  const rest = entries - whole, from = keys + whole * stride, end = s + (whole << 2);
  // Four keys for the last one to three: nothing past them may be read.
  const to = buffer + whole * stride;
  if (from != to) memory.copy(to, from, rest * stride);
  memory.fill(to + rest * stride, 0, (4 - rest) * stride);
  scores(q, queries, to, steps, 4, end);
  let p = end + (rest << 2);
  do {
    for (let i = rest; i < 4; i++) store<f32>(p + ((i - rest) << 2), -Infinity);
    p += ${4 * TILE};
  } while (--queries);
}

/** A tile that every row sees. */
function weighTile(s: usize, queries: i32, entries: i32, states: usize, o: usize, steps: i32): void {
  const quads = (entries + 3) >> 2;
  do {
    const factor = weigh(s, quads, states);
    if (factor != 1) scaleRow(o, steps, factor);
    s += ${4 * TILE}; states += 8; o += <usize>steps << 4;
  } while (--queries);
}

/** A tile that rows see in part: weights are zero elsewhere. */
function weighEdge(s: usize, rows: i32, group: i32, ranges: usize, t: i32, entries: i32, states: usize, o: usize, steps: i32): void {
  const padded = (entries + 3) & ~3;
  do {
    const start = max(load<i32>(ranges) - t, 0), end = min(load<i32>(ranges, 4) - t, entries);
    for (let head = 0; head < group; head++) {
      if (start < end) {
        for (let i = 0; i < start; i++) store<f32>(s + (i << 2), -Infinity);
        for (let i = end; i < padded; i++) store<f32>(s + (i << 2), -Infinity);
        const factor = weigh(s, padded >> 2, states);
        if (factor != 1) scaleRow(o, steps, factor);
      } else memory.fill(s, 0, padded << 2);
      s += ${4 * TILE}; states += 8; o += <usize>steps << 4;
    }
    ranges += 8;
  } while (--rows);
}

/** Values of such a tile. A weight of zero hides finite values only, so that others need a walk over what each row sees. */
function addEdge(s: usize, rows: i32, group: i32, ranges: usize, t: i32, entries: i32, values: usize, o: usize, steps: i32): void {
  if (allFinite(values, entries * steps)) return addValues(s, rows * group, values, steps, entries, o);
  const stride = <usize>steps << 4;
  do {
    const start = max(load<i32>(ranges) - t, 0), end = min(load<i32>(ranges, 4) - t, entries);
    for (let head = 0; head < group; head++) {
      if (start < end) addValues1(s + (start << 2), values + start * stride, steps, end - start, o);
      s += ${4 * TILE}; o += stride;
    }
    ranges += 8;
  } while (--rows);
}

/** Rows \`row ..\` of heads \`head ..\` to the places of the call. */
function writeTile(call: usize, row: i32, head: i32, rows: i32, group: i32, heads: i32, d: i32, depth: i32, states: usize, o: usize): void {
  const values = load<usize>(call, ${CALL.values}), finish = load<i32>(call, ${CALL.finish});
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < group; j++) {
      const at = <usize>((row + i) * heads + head + j), high = load<f32>(states), sum = load<f32>(states, 4);
      const to = values + (at * <usize>d << 2);
      if (finish) finishRow(o, d, high, sum, to);
      else {
        memory.copy(to, o, <usize>d << 2);
        store<f32>(load<usize>(call, ${CALL.maxima}) + (at << 2), high);
        store<f32>(load<usize>(call, ${CALL.sums}) + (at << 2), sum);
      }
      states += 8; o += <usize>depth << 2;
    }
  }
}

/** \`o / sum\`; zeros where nothing was seen. */
function finishRow(o: usize, d: i32, high: f32, sum: f32, to: usize): void {
  if (high == -Infinity) return memory.fill(to, 0, <usize>d << 2);
  const divisor = f32x4.splat(sum);
  let i = d >> 2;
  while (i > 0) { v128.store(to, f32x4.div(v128.load(o), divisor)); o += 16; to += 16; --i; }
  for (i = d & 3; i > 0; --i) { store<f32>(to, load<f32>(o) / sum); o += 4; to += 4; }
}
`;
}
