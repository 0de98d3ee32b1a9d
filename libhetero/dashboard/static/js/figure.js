/** The scatter saved as a figure: PNG, or SVG whose text stays text. */

import { MARGIN, axisParts } from "./axes.js";
import { download, svg } from "./dom.js";
import { legendParts } from "./legend.js";

const MANY = 2000; // points from which on a cloud is an image within a vector figure, which it would make slow to open
const LEGEND = 190;

/** Save what a scatter shows, with its legend, as "png" or "svg". */
export async function saveScatter(scatter, column, legend, name, kind) {
  const figure = await scatterFigure(scatter, column, legend, kind === "svg");
  const text = new XMLSerializer().serializeToString(figure);
  if (kind === "svg") download(new Blob([text], { type: "image/svg+xml" }), `${name}.svg`);
  else download(await rastered(text, Number(figure.getAttribute("width")), Number(figure.getAttribute("height"))), `${name}.png`);
}

async function scatterFigure(scatter, column, legend, vector) {
  const { clientWidth: inner, clientHeight: tall } = scatter.canvas;
  const width = inner + MARGIN.left + MARGIN.right;
  const height = tall + MARGIN.top + MARGIN.bottom;
  const few = scatter.x.length <= MANY;
  const cloud = vector && few ? circles(scatter) : [picture(scatter, inner, tall)];
  return svg(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width: width + LEGEND, height, viewBox: `0 0 ${width + LEGEND} ${height}`, "font-family": "sans-serif" },
    svg("rect", { width: width + LEGEND, height, fill: "#ffffff" }),
    svg("svg", { x: MARGIN.left, y: MARGIN.top, width: inner, height: tall, overflow: "hidden" }, cloud),
    axisParts(width, height, scatter.view(), scatter.names),
    legendParts(column, legend, width + 12, MARGIN.top),
  );
}

function picture(scatter, width, height) {
  return svg("image", { href: scatter.points.picture(), width, height });
}

function circles(scatter) {
  const count = scatter.x.length;
  const chosen = scatter.mask?.some((one) => one);
  const parts = [];
  for (let i = 0; i < count; i += 1) {
    const [cx, cy] = scatter.toPixels(scatter.x[i], scatter.y[i]);
    if (!Number.isFinite(cx + cy)) continue;
    const fill = scatter.colours.colours[scatter.colours.index[i]];
    const opacity = chosen && !scatter.mask[i] ? 0.12 : 0.85;
    parts.push(svg("circle", { cx: cx.toFixed(2), cy: cy.toFixed(2), r: 2.4, fill, "fill-opacity": opacity }));
  }
  return parts;
}

/** A PNG, at twice the size, of an SVG's text. */
export async function rastered(text, width, height, factor = 2) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = width * factor;
  canvas.height = height * factor;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
