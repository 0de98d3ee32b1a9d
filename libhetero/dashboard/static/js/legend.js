/** What colours mean: a list of classes, or a ramp with its range. */

import { ramp } from "./colour.js";
import { el, fill, svg } from "./dom.js";
import { short, titled, whole } from "./numbers.js";

/** Fill a legend; `onclass` is told which class was clicked and with which keys held. */
export function drawLegend(host, column, legend, onclass) {
  host.setAttribute("aria-label", `Colours: ${titled(column)}`);
  if (legend.kind === "ramp") fill(host, el("h4", {}, titled(column)), rampOf(legend), missing(legend));
  else fill(host, el("h4", {}, titled(column)), el("div.classes", {}, legend.items.map((item) => classOf(item, onclass))));
}

function classOf(item, onclass) {
  return el(
    "button.plain",
    { type: "button", title: `Choose ${item.label} (Ctrl adds, Alt subtracts)`, onclick: (event) => onclass(item, event) },
    el("i", { style: { background: item.colour } }),
    el("span", {}, item.label),
    el("small", {}, whole(item.count)),
  );
}

function rampOf({ map, low, high }) {
  const stops = ramp(map, 16).map((colour, i) => `${colour} ${((i / 15) * 100).toFixed(1)}%`);
  return el(
    "div.ramp",
    {},
    el("i", { style: { background: `linear-gradient(to right, ${stops.join(", ")})` } }),
    el("div", {}, el("span", {}, short(low)), el("span", {}, short((low + high) / 2)), el("span", {}, short(high))),
  );
}

function missing(legend) {
  return legend.missing ? el("p.faint", {}, `grey: ${whole(legend.missing)} without a value`) : null;
}

/** The legend as SVG, its upper left corner at a place: for figures that are saved. */
export function legendParts(column, legend, x, y) {
  const text = (left, top, words, more = {}) => svg("text", { x: left, y: top, fill: "#333333", "font-size": 12, ...more }, words);
  const title = text(x, y + 10, titled(column), { "font-weight": 600 });
  if (legend.kind !== "ramp") {
    const items = legend.items.slice(0, 24);
    return [
      title,
      ...items.flatMap((item, i) => [
        svg("circle", { cx: x + 6, cy: y + 28 + 18 * i, r: 5, fill: item.colour }),
        text(x + 18, y + 32 + 18 * i, `${item.label} (${whole(item.count)})`),
      ]),
    ];
  }
  const colours = ramp(legend.map, 64);
  return [
    title,
    ...colours.map((fillColour, i) => svg("rect", { x: x + i * 2.25, y: y + 20, width: 2.4, height: 12, fill: fillColour })),
    text(x, y + 46, short(legend.low)),
    text(x + 144, y + 46, short(legend.high), { "text-anchor": "end" }),
  ];
}
