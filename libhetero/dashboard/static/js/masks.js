/** Which particles lie in a polygon, a box, a range or a class: masks of one byte a particle. */

/**
 * Particles within a polygon, by the even-odd rule; those without coordinates are outside.
 *
 * `polygon` is [[x, y], …] in the units of the columns, as the server repeats it.
 */
export function inPolygon(x, y, polygon) {
  const mask = new Uint8Array(x.length);
  const corners = polygon.length;
  const px = Float64Array.from(polygon, (point) => point[0]);
  const py = Float64Array.from(polygon, (point) => point[1]);
  const [left, right] = [Math.min(...px), Math.max(...px)];
  const [bottom, top] = [Math.min(...py), Math.max(...py)];
  for (let i = 0; i < x.length; i += 1) {
    const a = x[i];
    const b = y[i];
    if (!(a >= left && a <= right && b >= bottom && b <= top)) continue;
    let inside = 0;
    for (let j = 0, k = corners - 1; j < corners; k = j, j += 1) {
      if (py[j] > b !== py[k] > b && a < ((px[k] - px[j]) * (b - py[j])) / (py[k] - py[j]) + px[j]) inside ^= 1;
    }
    mask[i] = inside;
  }
  return mask;
}

/** Particles whose value is from `low` to `high`, both included. */
export function inRange(values, low, high) {
  const mask = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i += 1) mask[i] = values[i] >= low && values[i] <= high ? 1 : 0;
  return mask;
}

/** Particles of one class. */
export function ofClass(values, number) {
  const mask = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i += 1) mask[i] = values[i] === number ? 1 : 0;
  return mask;
}

/** Particles of these rows. */
export function ofRows(rows, count) {
  const mask = new Uint8Array(count);
  for (const row of rows) if (row < count) mask[row] = 1;
  return mask;
}

/** How many particles a mask has. */
export function counted(mask) {
  let count = 0;
  for (let i = 0; i < mask.length; i += 1) count += mask[i];
  return count;
}

/** The rows of a mask, in order. */
export function rowsOf(mask) {
  const rows = new Uint32Array(counted(mask));
  let next = 0;
  for (let i = 0; i < mask.length; i += 1) if (mask[i]) rows[next++] = i;
  return rows;
}

/** Coordinates to seven figures: what is shown, recorded and repeated is then the same polygon. */
export function rounded(polygon) {
  return polygon.map((point) => point.map((value) => Number(value.toPrecision(7))));
}
