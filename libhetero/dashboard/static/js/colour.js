/** Colours that people with any colour vision tell apart: those of the figures, and viridis, vik and a ring. */

export const GREY = "#b4b4b4";
export const PALETTE = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
  "#7b3fa0", "#8c6d31", "#a8c81e", "#b2182b", "#1b9e9e", "#5c5c8a",
];
const GOLDEN = 0.618034; // of a turn
const LIGHTNESS = [0.36, 0.5, 0.64];

const MAPS = {
  viridis: ["#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"],
  cividis: ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"],
  diverging: ["#001261", "#033e7d", "#1e6f9d", "#71a8c4", "#c9dde7", "#eacebd", "#d39774", "#be6533", "#8b2706", "#590008"],
  cyclic: ["#e2d9e2", "#9ebbc9", "#6785be", "#5e43a5", "#421257", "#2f1436", "#591e47", "#95394f", "#bf7358", "#d3b7a5", "#e2d9e2"],
};
export const MAP_NAMES = { viridis: "Viridis", cividis: "Cividis", diverging: "Blue to red", cyclic: "Ring (angles)" };

/** Colour of class or region `number`, counted from 1; grey for 0 and below. */
export function categoryColour(number) {
  if (number <= 0) return GREY;
  if (number <= PALETTE.length) return PALETTE[number - 1];
  return hsl((GOLDEN * number) % 1, 0.65, LIGHTNESS[number % 3]);
}

/** `count` colours of a map, as "#rrggbb". */
export function ramp(name, count = 256) {
  const anchors = (MAPS[name] ?? MAPS.viridis).map(rgb);
  return Array.from({ length: count }, (_, i) => {
    const place = (i / Math.max(count - 1, 1)) * (anchors.length - 1);
    const first = Math.min(Math.floor(place), anchors.length - 2);
    const part = place - first;
    return hex(anchors[first].map((value, axis) => value + part * (anchors[first + 1][axis] - value)));
  });
}

/** Red, green and blue, 0 to 255, of "#rrggbb". */
export function rgb(colour) {
  return [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
}

function hex(values) {
  return `#${values.map((value) => Math.round(value).toString(16).padStart(2, "0")).join("")}`;
}

function hsl(hue, saturation, lightness) {
  const chroma = saturation * Math.min(lightness, 1 - lightness);
  const part = (n) => {
    const k = (n + hue * 12) % 12;
    return 255 * (lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1)));
  };
  return hex([part(0), part(8), part(4)]);
}

/** The map that suits a column: a ring for angles round a circle, blue to red where zero is the middle. */
export function mapFor(column, low, high) {
  if (/azimuth|psi\b|phi\b/i.test(column.name)) return "cyclic";
  if (column.group === "region" && low < 0 && high > 0) return "diverging";
  return "viridis";
}

/**
 * Colours of all particles by a column.
 *
 * Returns {index: Uint16Array of places in `colours`, colours, legend}. Place 0 is grey, for no value.
 */
export function colouring(column, values, { map, low, high } = {}) {
  if (column.kind === "category") return byCategory(column, values);
  if (column.kind === "flag") return byFlag(column, values);
  return byNumber(column, values, map, low, high);
}

function byCategory(column, values) {
  const index = new Uint16Array(values.length);
  const counts = [];
  for (let i = 0; i < values.length; i += 1) {
    const place = values[i] >= 0 && values[i] < 65535 && !Number.isNaN(values[i]) ? values[i] + 1 : 0;
    index[i] = place;
    counts[place] = (counts[place] ?? 0) + 1;
  }
  const many = Math.max(counts.length, (column.categories ?? []).length + 1);
  const colours = Array.from({ length: Math.max(many, 2) }, (_, place) => categoryColour(place));
  const items = colours.map((colour, place) => ({
    colour,
    value: place - 1,
    label: place === 0 ? "no class" : (column.categories?.[place - 1] ?? `class ${place - 1}`),
    count: counts[place] ?? 0,
  }));
  return { index, colours, legend: { kind: "categories", items: items.filter((item) => item.count) } };
}

function byFlag(column, values) {
  const index = new Uint16Array(values.length);
  let count = 0;
  for (let i = 0; i < values.length; i += 1) {
    index[i] = values[i] > 0 ? 1 : 0;
    count += index[i];
  }
  const items = [
    { colour: PALETTE[1], value: 1, label: column.label, count },
    { colour: GREY, value: 0, label: `not ${column.label}`, count: values.length - count },
  ];
  return { index, colours: [GREY, PALETTE[1]], legend: { kind: "categories", items } };
}

function byNumber(column, values, map, low, high) {
  const index = new Uint16Array(values.length);
  const scale = high > low ? 255 / (high - low) : 0;
  let missing = 0;
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i];
    if (Number.isNaN(value)) missing += 1;
    else index[i] = 1 + Math.max(0, Math.min(255, Math.round((value - low) * scale)));
  }
  const colours = [GREY, ...ramp(map, 256)];
  return { index, colours, legend: { kind: "ramp", map, low, high, missing } };
}
