/** Axes around a plot: ticks, numbers, and the names of columns with their units, as SVG. */

import { fill, svg } from "./dom.js";
import { short, ticks } from "./numbers.js";

export const MARGIN = { left: 62, right: 14, top: 12, bottom: 46 };

/** Draw both axes of a view [left, right, bottom, top] into an `<svg>` of a size. */
export function drawAxes(layer, width, height, view, names) {
  layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
  layer.setAttribute("width", width);
  layer.setAttribute("height", height);
  fill(layer, ...axisParts(width, height, view, names));
}

/** The parts of both axes: what a figure saved as SVG has as well. */
export function axisParts(width, height, [left, right, bottom, top], [xName, yName]) {
  const box = { x0: MARGIN.left, x1: width - MARGIN.right, y0: height - MARGIN.bottom, y1: MARGIN.top };
  const xOf = (value) => box.x0 + ((value - left) / (right - left)) * (box.x1 - box.x0);
  const yOf = (value) => box.y0 + ((value - bottom) / (top - bottom)) * (box.y1 - box.y0);
  const line = (x1, y1, x2, y2) => svg("line", { x1, y1, x2, y2, stroke: "#767676", "stroke-width": 1 });
  const text = (x, y, anchor, words, more = {}) =>
    svg("text", { x, y, "text-anchor": anchor, fill: "#333333", "font-size": 11.5, ...more }, words);
  const middle = { x: (box.x0 + box.x1) / 2, y: (box.y0 + box.y1) / 2 };
  const named = { "font-size": 13, class: "axis-name" };
  return [
    line(box.x0, box.y0, box.x1, box.y0),
    line(box.x0, box.y0, box.x0, box.y1),
    ...ticks(left, right, (box.x1 - box.x0) / 90).flatMap((value) => [
      line(xOf(value), box.y0, xOf(value), box.y0 + 5),
      text(xOf(value), box.y0 + 18, "middle", short(value)),
    ]),
    ...ticks(bottom, top, (box.y0 - box.y1) / 60).flatMap((value) => [
      line(box.x0 - 5, yOf(value), box.x0, yOf(value)),
      text(box.x0 - 9, yOf(value) + 4, "end", short(value)),
    ]),
    text(middle.x, height - 8, "middle", xName, named),
    text(15, middle.y, "middle", yName, { ...named, transform: `rotate(-90 15 ${middle.y})` }),
  ];
}
