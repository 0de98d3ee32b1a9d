/** A strip of particles: their images, the model's projections and what is left, side by side with the scatter. */

import { array } from "./api.js";
import { debounced, el, fill } from "./dom.js";
import { whole } from "./numbers.js";

const KINDS = [["image", "Image"], ["projection", "Model"], ["residual", "Residual"]];
const MOST = 64; // images of one request

/** Shows pages of the particles chosen; `onpick` is told a row that was clicked, `across` is what an image shows, Å. */
export class Strip {
  constructor(host, run, onpick, across) {
    Object.assign(this, { host, run, onpick, across });
    this.rows = new Uint32Array();
    this.start = 0;
    this.asked = null;
    this.wanted = new Set(["image", "projection", "residual"]);
    this.host.setAttribute("aria-label", "Images of the chosen particles");
    this.observer = new ResizeObserver(debounced(() => this.rows.length && this.#fitting() !== this.shown && this.show(), 120));
    this.observer.observe(host);
    this.show();
  }

  /** Show these rows from the first on. */
  set(rows, title) {
    Object.assign(this, { rows, title, start: 0 });
    this.show();
  }

  /** How many particles fit: below each other, or beside each other on a narrow screen. */
  #fitting() {
    const { clientWidth, clientHeight } = this.host;
    const flat = getComputedStyle(this.host).getPropertyValue("--flat").trim() === "1";
    const room = flat ? (clientWidth - 90) / 86 : (clientHeight - 112) / 84;
    return Math.max(1, Math.min(MOST, Math.floor(room)));
  }

  /** Stop listening: another run has the strip. */
  leave() {
    this.asked?.abort();
    this.observer.disconnect();
  }

  /** Go to the next (1) or previous (-1) page. */
  turn(direction) {
    const next = this.start + direction * this.shown;
    if (next < 0 || next >= this.rows.length) return;
    this.start = next;
    this.show();
  }

  /** Fetch and draw the page. */
  async show() {
    this.asked?.abort();
    if (!this.rows.length) {
      fill(this.host, el("p.hint", {}, "Choose particles with a lasso (L) or from the legend, or click one: their images, the model's projections and the residuals appear here."));
      return;
    }
    this.shown = this.#fitting();
    const rows = [...this.rows.subarray(this.start, this.start + this.shown)];
    const cells = new Map(KINDS.map(([kind]) => [kind, rows.map((row) => el("canvas", { width: 80, height: 80, title: `particle ${row}` }))]));
    fill(this.host, this.#head(rows), el("div.grid", {}, this.#rowsOf(rows, cells)));
    this.asked = new AbortController();
    await Promise.all(KINDS.filter(([kind]) => this.wanted.has(kind)).map(([kind]) => this.#fetch(kind, rows, cells.get(kind))));
  }

  #head(rows) {
    const to = this.start + rows.length;
    const step = (direction, sign, label) =>
      el("button.small", { type: "button", "aria-label": label, title: label, onclick: () => this.turn(direction), disabled: direction < 0 ? !this.start : to >= this.rows.length }, sign);
    const tick = ([kind, label]) =>
      el("label.tick", {}, el("input", { type: "checkbox", checked: this.wanted.has(kind), onchange: (event) => this.#want(kind, event.target.checked) }), label);
    return el(
      "header",
      {},
      el("b", {}, this.title ?? "Chosen particles"),
      el("span.faint", {}, `${whole(this.start + 1)} to ${whole(to)} of ${whole(this.rows.length)}${this.across ? `; images ${whole(this.across)} Å across` : ""}`),
      step(-1, "‹", "Previous particles"),
      step(1, "›", "Next particles"),
      el("span.space"),
      KINDS.map(tick),
    );
  }

  #want(kind, wanted) {
    if (wanted) this.wanted.add(kind);
    else this.wanted.delete(kind);
    this.show();
  }

  #rowsOf(rows, cells) {
    const shown = KINDS.filter(([kind]) => this.wanted.has(kind));
    const names = el("div.names", {}, el("span.number", {}, "Row"), shown.map(([, label]) => el("span", {}, label)));
    const columns = rows.map((row, i) =>
      el("button.plain.particle", { type: "button", onclick: () => this.onpick(row) }, el("span.number", {}, whole(row)), shown.map(([kind]) => cells.get(kind)[i])),
    );
    return [names, ...columns];
  }

  async #fetch(kind, rows, canvases) {
    try {
      const path = `api/runs/${this.run}/images?rows=${rows.join(",")}&what=${kind}`;
      const { values, shape } = await array(path, "float32", this.asked.signal);
      const [, height, width] = shape;
      canvases.forEach((canvas, i) => drawGrey(canvas, values.subarray(i * height * width, (i + 1) * height * width), width, height));
    } catch (fault) {
      if (fault.name === "AbortError") return;
      for (const canvas of canvases) canvas.replaceWith(el("span.none", { title: fault.message }, "not here"));
    }
  }
}

/** Draw numbers as grey, from three deviations below their mean to three above. */
export function drawGrey(canvas, values, width, height) {
  let sum = 0;
  let squares = 0;
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / values.length;
  const deviation = Math.sqrt(Math.max(squares / values.length - mean * mean, 1e-20));
  canvas.width = width;
  canvas.height = height;
  const picture = new ImageData(width, height);
  for (let i = 0; i < values.length; i += 1) {
    const grey = 127.5 + ((values[i] - mean) / deviation) * 42.5;
    picture.data.set([grey, grey, grey, 255], i * 4);
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
