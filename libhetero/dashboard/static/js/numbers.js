/** Numbers as people read them, and ticks of axes. */

/** 12 345 678, with thin spaces. */
export function whole(value) {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/** What the rows of a run are: images, where particles have several. */
export function rowsAre(run) {
  return run?.distinct ? "images" : "particles";
}

/** How many rows a run has, and of how many particles where these have several. */
export function rowsIn(run) {
  return `${whole(run.particles)} ${rowsAre(run)}${run.distinct ? ` of ${whole(run.distinct)} particles` : ""}`;
}

/** A number to about four figures. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "none";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return exponential(value);
  return String(Number(value.toPrecision(4))).replace("-", "\u2212");
}

/** 2.5·10⁻⁴ */
function exponential(value) {
  const [digits, power] = value.toExponential(2).split("e");
  const raised = String(Number(power)).replace("-", "\u207b").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
  return `${String(Number(digits)).replace("-", "\u2212")}·10${raised}`;
}

/** What a column is called on an axis: its label and unit. */
export function titled(column) {
  if (!column) return "";
  return column.unit ? `${column.label} (${column.unit})` : column.label;
}

/** Steps of 1, 2 or 5 that give about `count` ticks from `low` to `high`. */
export function ticks(low, high, count) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [];
  const rough = span / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** Seconds as "1 h 20 min", "40 s". */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

/** Lowest and highest finite value of an array. */
export function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i];
    if (value < low && value > -Infinity) low = value;
    if (value > high && value < Infinity) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

/** The values below which these parts of an array lie, of at most 20 000 of them evenly taken. */
export function quantiles(values, parts) {
  const step = Math.max(1, Math.floor(values.length / 20000));
  const some = [];
  for (let i = 0; i < values.length; i += step) if (Number.isFinite(values[i])) some.push(values[i]);
  some.sort((a, b) => a - b);
  return parts.map((part) => (some.length ? some[Math.min(some.length - 1, Math.floor(part * some.length))] : 0));
}
