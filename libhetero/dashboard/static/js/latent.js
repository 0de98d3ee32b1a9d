/** The latent: which columns are the axes and the colour, the scatter, and what the mouse chooses in it. */

import { MAP_NAMES, colouring, mapFor } from "./colour.js";
import { el, fill, labelled, select } from "./dom.js";
import { saveScatter } from "./figure.js";
import { drawLegend } from "./legend.js";
import { inPolygon, inRange, ofClass } from "./masks.js";
import { quantiles, rowsAre, short, titled, whole } from "./numbers.js";
import { Scatter } from "./scatter.js";
import { say, tried } from "./toast.js";

export const TOOLS = [
  ["pan", "Move", "Zoom with the wheel, move by dragging, click a particle (P)"],
  ["lasso", "Lasso", "Choose particles by drawing round them (L)"],
  ["box", "Box", "Choose particles in a box (B)"],
];

/** How a lasso, a box or a click changes what is chosen: by the keys held, else by the panel's mode. */
export function modeOf(event, mode) {
  if (event?.ctrlKey || event?.metaKey) return "add";
  if (event?.altKey) return "subtract";
  return mode;
}

export class Latent {
  constructor(app, panel, pane) {
    Object.assign(this, { app, panel, pane });
    this.plotHost = el("div.plot");
    this.legend = el("div.legend", { role: "group" });
    this.note = el("p.note");
    this.tip = el("div.tip", { hidden: true });
    this.toolbar = el("div.toolbar", { role: "toolbar", "aria-label": "Tools of the scatter" });
    fill(pane, this.toolbar, this.plotHost, this.legend, this.note, this.tip);
    try {
      this.scatter = new Scatter(this.plotHost);
    } catch (fault) {
      console.warn(fault);
      fill(pane, el("div.empty", {}, el("h3", {}, "No WebGL"), el("p", {}, "This browser cannot draw the scatter: turn hardware acceleration on, or use another browser. Everything else works.")));
      return;
    }
    this.#listen();
    this.use("pan");
  }

  #listen() {
    const { scatter, app } = this;
    scatter.addEventListener("lasso", ({ detail }) => this.#lassoed(detail));
    scatter.addEventListener("box", ({ detail }) => this.#boxed(detail));
    scatter.addEventListener("hover", ({ detail }) => this.#hovered(detail));
    scatter.addEventListener("pick", ({ detail }) => app.dispatchEvent(new CustomEvent("pick", { detail })));
    scatter.addEventListener("path", ({ detail }) => app.dispatchEvent(new CustomEvent("path", { detail })));
    let timer = 0;
    scatter.addEventListener("view", () => {
      clearTimeout(timer);
      timer = setTimeout(() => app.state.set({ cam: scatter.camera() }), 400);
    });
  }

  /** Take another run's columns and selection. */
  async load() {
    const { app } = this;
    const { columns, state } = app;
    const known = (name) => (columns.find(state.get(name)) ? state.get(name) : undefined);
    const [x, y] = columns.axes();
    this.x = known("x") ?? x;
    this.y = known("y") ?? y;
    this.colour = known("c") ?? columns.colour();
    this.map = MAP_NAMES[state.get("map")] ? state.get("map") : null;
    this.range = null;
    if (!this.scatter) return;
    this.scatter.mask = null;
    if (!this.x) {
      this.#nothing();
      return;
    }
    this.#controls();
    app.selection.addEventListener("change", () => this.scatter.select(app.selection.mask));
    const camera = state.get("cam");
    await this.draw();
    if (camera) this.scatter.lookAs(camera);
  }

  #nothing() {
    const { run } = this.app;
    fill(this.panel, el("p.hint", {}, "No columns yet."));
    const text = run.state === "training" ? "The first latents are written at the end of an epoch." : "The run has no latents that can be read.";
    fill(this.legend, el("div.empty", {}, el("h3", {}, "No particles to show yet"), el("p", {}, text)));
  }

  #controls() {
    const { columns } = this.app;
    const pick = (name) => (event) => this.set({ [name]: event.target.value });
    const axis = (name, label) =>
      labelled(label, select({ onchange: pick(name), "data-axis": name }, columns.numbers(), this[name]));
    this.maps = select({ onchange: (event) => this.set({ map: event.target.value || null }) }, [["", "Automatic"], ...Object.entries(MAP_NAMES)], this.map ?? "");
    this.low = el("input", { type: "number", step: "any", "aria-label": "Lowest value of the colours", onchange: () => this.#ranged() });
    this.high = el("input", { type: "number", step: "any", "aria-label": "Highest value of the colours", onchange: () => this.#ranged() });
    this.ramped = el("div", {}, labelled("Colours", this.maps), el("div.pair", {}, this.low, el("span", {}, "to"), this.high));
    const size = el("input", { type: "range", min: 1, max: 12, step: 0.5, value: 4, "aria-label": "Size of points", oninput: (event) => this.#styled({ size: Number(event.target.value) }) });
    const opacity = el("input", { type: "range", min: 0.05, max: 1, step: 0.05, value: 0.7, "aria-label": "Opacity of points", oninput: (event) => this.#styled({ opacity: Number(event.target.value) }) });
    fill(
      this.panel,
      el("h2", {}, "Axes and colour"),
      this.#planes(),
      el("div.pair", {}, axis("x", "Across"), axis("y", "Up")),
      labelled("Colour by", select({ onchange: pick("colour"), "data-axis": "colour" }, columns.colours(), this.colour)),
      this.ramped,
      el("details", {}, el("summary", {}, "Points"), labelled("Size", size), labelled("Opacity", opacity)),
    );
  }

  #planes() {
    const there = this.app.columns.planes();
    return el("div.row", {}, there.map(({ label, x, y }) => el("button.small", { type: "button", onclick: () => this.set({ x, y }) }, label)));
  }

  /** Change axes or colour, redraw, and write it into the address. */
  async set(changes) {
    Object.assign(this, changes);
    if ("colour" in changes || "map" in changes) this.range = null;
    if ("map" in changes && !("colour" in changes)) this.range = this.kept ?? null;
    for (const node of this.panel.querySelectorAll("[data-axis]")) node.value = this[node.dataset.axis];
    this.app.state.set({ x: this.x, y: this.y, c: this.colour, map: this.map, ...("x" in changes || "y" in changes ? { cam: null } : {}) });
    await this.draw();
  }

  #ranged() {
    const [low, high] = [this.low.valueAsNumber, this.high.valueAsNumber];
    if (!(high > low)) {
      say("The range of colours must end above where it begins.", "fault");
      return;
    }
    this.range = [low, high];
    this.draw();
  }

  #styled({ size = this.size, opacity = this.opacity }) {
    Object.assign(this, { size, opacity });
    this.scatter.style(size, opacity);
  }

  /** Fetch what is missing and draw. */
  async draw() {
    const { app, scatter } = this;
    const { columns } = app;
    const asked = (this.asked = Symbol("draw"));
    this.pane.classList.add("busy");
    await tried(async () => {
      const [x, y, values] = await Promise.all([this.x, this.y, this.colour].map((name) => columns.values(name)));
      const column = await columns.named(this.colour);
      if (asked !== this.asked || columns !== app.columns) return;
      const shades = this.#shades(column, values);
      const names = [this.x, this.y].map((name) => titled(columns.find(name)));
      drawLegend(this.legend, column, shades.legend, (item, event) => this.#classChosen(item, event));
      this.shades = shades;
      this.note.textContent = `${whole(x.length)} ${rowsAre(app.run)}, every one drawn`;
      scatter.draw({ x, y, names, equal: columns.alike(this.x, this.y), colours: shades });
      if (scatter.missing) this.note.textContent = `${whole(x.length - scatter.missing)} of ${whole(x.length)} ${rowsAre(app.run)}; ${whole(scatter.missing)} have no value on these axes`;
    });
    if (asked === this.asked) this.pane.classList.remove("busy");
    this.pane.dataset.drawn = `${this.x} ${this.y} ${this.colour}`;
  }

  #shades(column, values) {
    this.ramped.hidden = column.kind !== "number";
    if (column.kind !== "number") return colouring(column, values);
    const [low, high] = this.range ?? (this.kept = mapFor(column, 0, 0) === "cyclic" ? [-180, 180] : this.#inner(values));
    this.low.value = Number(low.toPrecision(4));
    this.high.value = Number(high.toPrecision(4));
    return colouring(column, values, { map: this.map ?? mapFor(column, low, high), low, high });
  }

  /** The range that all but a hundredth of the values at either end lie in. */
  #inner(values) {
    const [low, high] = quantiles(values, [0.01, 0.99]);
    return high > low ? [low, high] : [low - 0.5, low + 0.5];
  }

  /** Use a tool of the mouse. */
  use(tool) {
    this.scatter?.use(tool);
    const save = (kind) => () => saveScatter(this.scatter, this.app.columns.find(this.colour), this.shades.legend, `${this.app.run.name}_${this.x}_${this.y}_${this.colour}`, kind);
    fill(
      this.toolbar,
      [...TOOLS, ...(this.app.state.get("tab") === "volumes" ? [["path", "Path", "Click the corners of a path (T)"]] : [])].map(([name, label, title]) =>
        el("button", { type: "button", title, "aria-pressed": String(name === tool), onclick: () => this.use(name) }, label),
      ),
      el("span.space"),
      el("button", { type: "button", title: "Show all particles (F)", onclick: () => this.scatter.fit() }, "Fit"),
      el("button", { type: "button", title: "Save the figure as PNG", onclick: save("png") }, "PNG"),
      el("button", { type: "button", title: "Save the figure as SVG", onclick: save("svg") }, "SVG"),
    );
  }

  async #lassoed({ polygon, event }) {
    const { selection, columns } = this.app;
    const [x, y] = await Promise.all([columns.values(this.x), columns.values(this.y)]);
    const how = { lasso: polygon, x: this.x, y: this.y };
    selection.choose(inPolygon(x, y, polygon), how, `a lasso of ${this.x} and ${this.y}`, modeOf(event, selection.mode));
  }

  async #boxed({ x0, x1, y0, y1, event }) {
    const { selection, columns } = this.app;
    const [x, y] = await Promise.all([columns.values(this.x), columns.values(this.y)]);
    const mask = inRange(x, x0, x1);
    const other = inRange(y, y0, y1);
    for (let i = 0; i < mask.length; i += 1) mask[i] &= other[i];
    const how = { and: [{ column: this.x, from: x0, to: x1 }, { column: this.y, from: y0, to: y1 }] };
    const made = `${this.x} from ${short(x0)} to ${short(x1)} and ${this.y} from ${short(y0)} to ${short(y1)}`;
    selection.choose(mask, how, made, modeOf(event, selection.mode));
  }

  async #classChosen(item, event) {
    const { selection, columns } = this.app;
    const column = columns.find(this.colour);
    const values = await columns.values(this.colour);
    const mask = item.value < 0 ? values.map((value) => (value < 0 ? 1 : 0)) : ofClass(values, item.value);
    selection.choose(Uint8Array.from(mask), howOfClass(column, item.value), `${item.label} of ${column.label}`, modeOf(event, selection.mode));
  }

  async #hovered(detail) {
    this.tip.hidden = !detail;
    if (!detail) return;
    const { columns } = this.app;
    const names = [...new Set([this.x, this.y, this.colour])];
    const values = await Promise.all(names.map((name) => columns.values(name)));
    const words = names.map((name, i) => [columns.find(name), values[i][detail.row]]);
    fill(
      this.tip,
      el("b", {}, `particle ${whole(detail.row)}`),
      words.map(([column, value]) => el("div", {}, `${column.label}: `, valueOf(column, value))),
    );
    const box = this.pane.getBoundingClientRect();
    Object.assign(this.tip.style, { left: `${Math.min(detail.left - box.left + 14, box.width - 180)}px`, top: `${detail.top - box.top + 14}px` });
  }
}

/** The recipe of a class: what the server repeats. */
export function howOfClass(column, number) {
  const [, of, region] = column.name.match(/^(.+)\/(?:region_(\d+)_)?class$/) ?? [];
  if (column.group !== "class" || !of) return { column: column.name, is: number };
  return region ? { class: number, of, region: Number(region) } : { class: number, of };
}

/** A value of a column as people read it. */
export function valueOf(column, value) {
  if (column.kind === "category") return value < 0 ? "none" : (column.categories?.[value] ?? String(value));
  if (column.kind === "flag") return value > 0 ? "yes" : "no";
  return `${short(value)}${column.unit && !Number.isNaN(value) ? ` ${column.unit}` : ""}`;
}
