/**
 * A scatter of all particles: regl-scatterplot draws the points, this draws axes, lassos and paths.
 *
 * Every particle that has both coordinates is drawn; none is left out to be faster. Lasso and box are drawn on a layer
 * above the points, in the units of the columns, so that what was enclosed can be recorded and repeated.
 */

import createScatterplot from "../vendor/regl-scatterplot.js";
import { MARGIN, drawAxes } from "./axes.js";
import { debounced, el, fill, svg } from "./dom.js";
import { rounded } from "./masks.js";
import { extent } from "./numbers.js";

const NEAR = 4; // pixels that a lasso's next corner is away from its last
const PAD = 1.06; // of the data's extent that the view shows at first

/**
 * Dispatches "lasso" {polygon, event}, "box" {x0, x1, y0, y1, event}, "pick" {row, x, y}, "hover" {row, left, top},
 * "path" {points} and "view" {view}.
 */
export class Scatter extends EventTarget {
  constructor(host) {
    super();
    this.host = host;
    this.tool = "pan";
    this.names = ["", ""];
    this.rows = null; // of the particles drawn, where some have no coordinates
    this.path = [];
    this.marks = [];
    this.ready = Promise.resolve();
    this.#build();
  }

  #build() {
    this.canvas = el("canvas.points", { tabindex: 0, role: "img", "aria-label": "Scatter of all particles" });
    this.axes = svg("svg", { class: "axes", "aria-hidden": "true" });
    this.layer = svg("svg", { class: "draw" });
    fill(this.host, this.axes, this.canvas, this.layer);
    const { width, height } = this.#size();
    this.plot = createScatterplot({
      canvas: this.canvas,
      width,
      height,
      backgroundColor: "#ffffff",
      pointColor: ["#0072b2"],
      opacityInactiveMax: 1,
      opacityInactiveScale: 0.12,
      pointOutlineWidth: 0,
      pointSizeSelected: 0,
      actionKeyMap: {},
      deselectOnDblClick: false,
      deselectOnEscape: false,
      pointScaleMode: "asinh",
    });
    this.plot.subscribe("view", () => this.#viewed());
    this.plot.subscribe("pointover", (index) => (this.hovered = index));
    this.plot.subscribe("pointout", () => this.#left());
    // the library would choose the point clicked alone: what is chosen is decided by the page
    for (const name of ["click", "dblclick"]) this.host.addEventListener(name, (event) => event.stopPropagation(), true);
    this.#listen();
    new ResizeObserver(debounced(() => this.resize(), 60)).observe(this.host);
  }

  #size() {
    const width = Math.max(this.host.clientWidth - MARGIN.left - MARGIN.right, 50);
    const height = Math.max(this.host.clientHeight - MARGIN.top - MARGIN.bottom, 50);
    Object.assign(this.canvas.style, { left: `${MARGIN.left}px`, top: `${MARGIN.top}px` });
    return { width, height };
  }

  /** Fit the place that the page gives it. */
  resize() {
    if (!this.host.clientWidth || !this.host.clientHeight) return;
    const home = this.homed !== undefined && this.#atHome();
    const { width, height } = this.#size();
    this.plot.set({ width, height, ...(this.equal ? {} : { aspectRatio: width / height }) });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    if (home) this.#goHome();
    this.plot.redraw?.();
    this.#viewed();
  }

  /**
   * Draw particles.
   *
   * x, y: Float32Array; names: of the axes; equal: whether both axes have the same scale; colours: of `colouring`.
   */
  async draw({ x, y, names, equal, colours, keepView = false }) {
    await this.ready.catch(() => {});
    const moved = x !== this.x || y !== this.y;
    Object.assign(this, { x, y, names, equal, colours });
    if (moved) {
      this.#place(x, y, equal);
      this.index = null;
    }
    this.ready = this.#drawn(moved && !keepView);
    await this.ready;
    this.#viewed();
  }

  async #drawn(fresh) {
    const { x, y, rows, colours, centre, half } = this;
    const count = rows ? rows.length : x.length;
    const points = new Array(count);
    for (let i = 0; i < count; i += 1) {
      const row = rows ? rows[i] : i;
      points[i] = [(x[row] - centre[0]) / half[0], (y[row] - centre[1]) / half[1], colours.index[row]];
    }
    const { width, height } = this.#size();
    const shades = colours.colours.length > 1 ? colours.colours : [colours.colours[0], colours.colours[0]];
    await this.plot.set({
      width,
      height,
      aspectRatio: this.equal ? 1 : width / height,
      colorBy: "valueA",
      pointColor: shades,
      pointSize: this.pointSize ?? automaticSize(count),
      opacity: this.opacity ?? automaticOpacity(count),
    });
    const spatialIndex = this.index ?? undefined;
    if (!count) {
      this.plot.clear();
      return;
    }
    await this.plot.draw(points, { zDataType: "categorical", spatialIndex });
    if (fresh) this.fit(); // after drawing: the library looks anew when it is ready
    this.index = this.plot.get("spatialIndex");
    if (this.mask) this.select(this.mask);
  }

  /** Centre and half extents of the data; which rows have both coordinates. */
  #place(x, y, equal) {
    const [x0, x1] = extent(x);
    const [y0, y1] = extent(y);
    this.centre = [(x0 + x1) / 2, (y0 + y1) / 2];
    this.half = [((x1 - x0) / 2) * PAD || 1, ((y1 - y0) / 2) * PAD || 1];
    this.reach = this.half; // of the data, where both axes have one scale
    if (equal) this.half = this.half.map(() => Math.max(...this.half));
    let missing = 0;
    for (let i = 0; i < x.length; i += 1) if (!(Number.isFinite(x[i]) && Number.isFinite(y[i]))) missing += 1;
    this.missing = missing;
    this.rows = null;
    if (!missing) return;
    this.rows = new Uint32Array(x.length - missing);
    let next = 0;
    for (let i = 0; i < x.length; i += 1) if (Number.isFinite(x[i]) && Number.isFinite(y[i])) this.rows[next++] = i;
  }

  /** Show which particles are chosen; the others fade. */
  select(mask) {
    this.mask = mask;
    const chosen = [];
    const count = this.rows ? this.rows.length : mask.length;
    for (let i = 0; i < count; i += 1) if (mask[this.rows ? this.rows[i] : i]) chosen.push(i);
    if (chosen.length && chosen.length < count) this.plot.select(chosen, { preventEvent: true });
    else this.plot.deselect({ preventEvent: true });
  }

  /** Size of points in pixels and opacity 0 to 1; null for what suits the number of particles. */
  style(pointSize, opacity) {
    Object.assign(this, { pointSize, opacity });
    const count = this.x?.length ?? 0;
    this.plot.set({ pointSize: pointSize ?? automaticSize(count), opacity: opacity ?? automaticOpacity(count) });
  }

  /** Choose what the mouse does: "pan", "lasso", "box" or "path". */
  use(tool) {
    this.tool = tool;
    this.host.dataset.tool = tool;
    this.#ink();
  }

  /** Show all particles. */
  fit() {
    this.#goHome();
    this.plot.redraw?.();
    this.#viewed();
  }

  /** The scale of the camera at which the data just fill the plot. */
  #home() {
    if (!this.equal || !this.reach) return 1;
    const { width, height } = this.#size(); // a tab that is hidden has no size of its own
    const aspect = width / height;
    return Math.min((aspect * this.half[0]) / this.reach[0], this.half[1] / this.reach[1]);
  }

  #goHome() {
    this.homed = this.#home();
    this.#camera(this.homed, 0, 0);
  }

  #camera(scale, a, b) {
    this.plot.view(Float32Array.of(scale, 0, 0, 0, 0, scale, 0, 0, 0, 0, scale, 0, a, b, 0, 1));
  }

  #atHome() {
    const view = this.plot.get("cameraView");
    const fits = [this.homed, 1].some((scale) => Math.abs(view[0] - scale) < 1e-3 * view[0]);
    return fits && Math.abs(view[12]) < 1e-3 && Math.abs(view[13]) < 1e-3;
  }

  /** [left, right, bottom, top] that the view shows, in the columns' units. */
  view() {
    const [left, top] = this.toData(0, 0);
    const [right, bottom] = this.toData(this.canvas.clientWidth, this.canvas.clientHeight);
    return [left, right, bottom, top];
  }

  /** The camera as a text for the address; null where all is shown. */
  camera() {
    const view = this.plot.get("cameraView");
    return this.#atHome() ? null : [view[0], view[12], view[13]].map((one) => one.toFixed(4)).join(",");
  }

  /** Look as an earlier `camera` said. */
  lookAs(text) {
    const [scale, a, b] = (text ?? "").split(",").map(Number);
    if (![scale, a, b].every(Number.isFinite)) return;
    this.#camera(scale, a, b);
    this.plot.redraw?.();
  }

  #frame() {
    const view = this.plot.get("cameraView");
    const aspect = this.canvas.clientWidth / this.canvas.clientHeight;
    const model = this.equal ? 1 : aspect;
    return { view, aspect, model };
  }

  /** Units of the columns of a place in the canvas, in pixels. */
  toData(left, top) {
    const { view, aspect, model } = this.#frame();
    const nx = (left / this.canvas.clientWidth) * 2 - 1;
    const ny = 1 - (top / this.canvas.clientHeight) * 2;
    const px = (nx * aspect - view[12]) / (view[0] * model);
    const py = (ny - view[13]) / view[5];
    const { centre = [0, 0], half = [1, 1] } = this;
    return [px * half[0] + centre[0], py * half[1] + centre[1]];
  }

  /** Place in the canvas, in pixels, of units of the columns. */
  toPixels(a, b) {
    const { view, aspect, model } = this.#frame();
    const { centre = [0, 0], half = [1, 1] } = this;
    const nx = (((a - centre[0]) / half[0]) * view[0] * model + view[12]) / aspect;
    const ny = ((b - centre[1]) / half[1]) * view[5] + view[13];
    return [((nx + 1) / 2) * this.canvas.clientWidth, ((1 - ny) / 2) * this.canvas.clientHeight];
  }

  #viewed() {
    if (!this.host.clientWidth) return;
    drawAxes(this.axes, this.host.clientWidth, this.host.clientHeight, this.view(), this.names);
    this.#ink();
    this.dispatchEvent(new CustomEvent("view", { detail: { view: this.view() } }));
  }

  /** Points to mark: [{x, y, label}], in the columns' units. */
  mark(marks) {
    this.marks = marks;
    this.#ink();
  }

  /** Corners of the path, in the columns' units. */
  setPath(points) {
    this.path = points;
    this.#ink();
  }

  #ink(open = []) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    Object.assign(this.layer.style, { left: `${MARGIN.left}px`, top: `${MARGIN.top}px` });
    this.layer.setAttribute("width", width);
    this.layer.setAttribute("height", height);
    const places = this.path.map(([a, b]) => this.toPixels(a, b));
    const listed = (list) => list.map((point) => point.map((one) => one.toFixed(1)).join(",")).join(" ");
    const marked = this.marks.map(({ x, y, label }) => {
      const [left, top] = this.toPixels(x, y);
      return [svg("circle", { cx: left, cy: top, r: 6, class: "mark" }), svg("text", { x: left + 10, y: top + 4, class: "mark-name" }, label)];
    });
    fill(
      this.layer,
      places.length > 1 && svg("polyline", { points: listed(places), class: "path" }),
      places.map(([cx, cy], i) => svg("g", {}, svg("circle", { cx, cy, r: 8, class: "stop" }), svg("text", { x: cx, y: cy + 4, class: "stop-name" }, i + 1))),
      marked,
      open.length > 1 && svg("polygon", { points: listed(open), class: "lasso" }),
    );
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #left() {
    this.hovered = undefined;
    this.dispatchEvent(new CustomEvent("hover", { detail: null }));
  }

  #listen() {
    const { host } = this;
    host.addEventListener("pointerdown", (event) => this.#down(event), true);
    host.addEventListener("mousedown", (event) => this.#draws(event) && event.stopPropagation(), true);
    host.addEventListener("pointermove", (event) => this.#hover(event));
    host.addEventListener("pointerleave", () => this.#left());
    let pressed = [0, 0];
    host.addEventListener("pointerdown", (event) => (pressed = [event.clientX, event.clientY]), true);
    host.addEventListener(
      "click",
      (event) => {
        const still = Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < NEAR;
        if (still && event.target !== this.axes && !this.drew) this.#clicked(event);
        this.drew = false;
      },
      true,
    );
  }

  #clicked(event) {
    const [left, top] = this.#at(event);
    const [x, y] = this.toData(left, top);
    if (this.tool === "path") {
      this.setPath([...this.path, [x, y]]);
      this.dispatchEvent(new CustomEvent("path", { detail: { points: this.path } }));
      return;
    }
    const row = this.nearest(left, top);
    this.dispatchEvent(new CustomEvent("pick", { detail: { row, x, y, event } }));
  }

  /** The particle within 10 pixels of a place in the canvas, or null. */
  nearest(left, top) {
    const { x, y } = this;
    if (!x) return null;
    const reach = 10;
    const [a, b] = this.toData(left, top);
    const [a1, b1] = this.toData(left + 1, top + 1);
    const [across, up] = [1 / (a1 - a) ** 2, 1 / (b1 - b) ** 2]; // square pixels of a square unit
    let best = null;
    let least = reach ** 2;
    for (let row = 0; row < x.length; row += 1) {
      const far = (x[row] - a) ** 2 * across + (y[row] - b) ** 2 * up;
      if (far <= least) [best, least] = [row, far];
    }
    return best;
  }

  #hover(event) {
    if (this.tool !== "pan" || event.buttons) return;
    const row = this.hovered === undefined ? null : this.rows ? this.rows[this.hovered] : this.hovered;
    const detail = row === null ? null : { row, left: event.clientX, top: event.clientY };
    this.dispatchEvent(new CustomEvent("hover", { detail }));
  }

  #draws(event) {
    const drawing = this.tool === "lasso" || this.tool === "box" || (this.tool === "pan" && event.shiftKey);
    return drawing && event.button === 0;
  }

  #down(event) {
    if (!this.#draws(event)) return;
    const box = this.tool === "box";
    event.preventDefault();
    event.stopPropagation();
    this.host.setPointerCapture(event.pointerId);
    const corners = [this.#at(event)];
    const move = (next) => {
      const place = this.#at(next);
      if (box) this.#ink(rectangle(corners[0], (corners[1] = place)));
      else if (Math.hypot(place[0] - corners.at(-1)[0], place[1] - corners.at(-1)[1]) >= NEAR) {
        corners.push(place);
        this.#ink(corners);
      }
    };
    const stop = (last) => {
      for (const name of ["pointermove", "pointerup", "pointercancel"]) this.host.removeEventListener(name, name === "pointermove" ? move : stop);
      this.#ink();
      if (last.type === "pointerup") this.#enclosed(corners, box, last);
    };
    this.host.addEventListener("pointermove", move);
    this.host.addEventListener("pointerup", stop);
    this.host.addEventListener("pointercancel", stop);
  }

  #enclosed(corners, box, event) {
    if (corners.length < (box ? 2 : 3)) return;
    if (box && Math.hypot(corners[1][0] - corners[0][0], corners[1][1] - corners[0][1]) < NEAR) return;
    this.drew = true;
    const places = rounded(corners.map(([left, top]) => this.toData(left, top)));
    if (!box) {
      this.dispatchEvent(new CustomEvent("lasso", { detail: { polygon: places, event } }));
      return;
    }
    const [xs, ys] = [0, 1].map((axis) => places.map((place) => place[axis]).sort((a, b) => a - b));
    this.dispatchEvent(new CustomEvent("box", { detail: { x0: xs[0], x1: xs[1], y0: ys[0], y1: ys[1], event } }));
  }
}

function rectangle([x0, y0], [x1, y1]) {
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
}

/** Pixels of a point that keep a cloud of this many readable. */
export function automaticSize(count) {
  return Math.max(1.5, Math.min(7, 40 / Math.max(count, 1) ** 0.3));
}

/** Opacity of a point that keeps a cloud of this many readable. */
export function automaticOpacity(count) {
  return Math.max(0.25, Math.min(0.9, 8 / Math.max(count, 1) ** 0.25));
}
