/**
 * A scatter of all particles: points by WebGL, and axes, lassos and paths on layers above and below them.
 *
 * Every particle that has both coordinates is drawn; none is left out to be faster. Lasso and box are drawn on a layer
 * above the points, in the units of the columns, so that what was enclosed can be recorded and repeated.
 */

import { MARGIN, drawAxes } from "./axes.js";
import { debounced, el, fill, svg } from "./dom.js";
import { rounded } from "./masks.js";
import { extent } from "./numbers.js";
import { Points } from "./points.js";

const NEAR = 4; // pixels that a lasso's next corner is away from its last
const PAD = 1.06; // of the data's extent that the view shows at first
const REACH = { click: 10, hover: 5 }; // pixels from a particle
const ZOOM = 0.0015; // of the scale's logarithm, for a pixel of the wheel
const LINE = 16; // pixels of the wheel that browsers mean by a line
const SCALES = [1e-2, 1e5];
const STEPS = { ArrowLeft: [0.2, 0], ArrowRight: [-0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] }; // half heights
const ZOOMS = { "+": 1.25, "=": 1.25, "-": 0.8 };

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
    this.path = [];
    this.marks = [];
    this.eye = { scale: 1, a: 0, b: 0 }; // how much larger, and how far to the right and up, in half heights
    this.homed = 1;
    this.#build();
  }

  #build() {
    this.canvas = el("canvas.points", { tabindex: 0, role: "img", "aria-label": "Scatter of all particles" });
    this.axes = svg("svg", { class: "axes", "aria-hidden": "true" });
    this.layer = svg("svg", { class: "draw" });
    fill(this.host, this.axes, this.canvas, this.layer);
    Object.assign(this.canvas.style, { left: `${MARGIN.left}px`, top: `${MARGIN.top}px` });
    this.points = new Points(this.canvas);
    const { width, height } = this.#size();
    this.points.resize(width, height);
    this.#listen();
    this.watch = new ResizeObserver(debounced(() => this.resize(), 60));
    this.watch.observe(this.host);
  }

  /** Give back what it holds of the graphics card: a browser keeps a few contexts alone, and takes them from others. */
  close() {
    this.watch.disconnect();
    this.points.close();
  }

  #size() {
    const width = Math.max(this.host.clientWidth - MARGIN.left - MARGIN.right, 50);
    const height = Math.max(this.host.clientHeight - MARGIN.top - MARGIN.bottom, 50);
    return { width, height };
  }

  /** Fit the place that the page gives it. */
  resize() {
    if (!this.host.clientWidth || !this.host.clientHeight) return;
    const home = this.#atHome();
    const { width, height } = this.#size();
    this.points.resize(width, height);
    if (home) this.#goHome();
    this.#viewed();
  }

  /**
   * Draw particles.
   *
   * x, y: Float32Array; names: of the axes; equal: whether both axes have the same scale; colours: of `colouring`.
   */
  draw({ x, y, names, equal, colours, keepView = false }) {
    this.resize(); // what stands beside it may have changed: one frame, of the size that stays
    const moved = x !== this.x || y !== this.y;
    Object.assign(this, { x, y, names, equal, colours });
    if (moved) {
      this.#place(x, y, equal);
      this.points.place(x, y, this.missing, this.centre, this.half);
    }
    this.points.paint(colours.index, colours.colours);
    this.select(this.mask ?? null);
    if (moved && !keepView) this.#goHome();
    this.#viewed();
  }

  /** Centre and half extents of the data; how many particles have not both coordinates. */
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
  }

  /** Show which particles are chosen; the others fade. */
  select(mask) {
    this.mask = mask;
    this.points.choose(mask);
  }

  /** Size of points in pixels and opacity 0 to 1; null for what suits the number of particles. */
  style(pointSize, opacity) {
    Object.assign(this, { pointSize, opacity });
    this.#look();
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
    this.#viewed();
  }

  /** The scale at which the data just fill the plot. */
  #home() {
    if (!this.equal || !this.reach) return 1;
    const { width, height } = this.#size(); // a tab that is hidden has no size of its own
    const aspect = width / height;
    return Math.min((aspect * this.half[0]) / this.reach[0], this.half[1] / this.reach[1]);
  }

  #goHome() {
    this.homed = this.#home();
    this.eye = { scale: this.homed, a: 0, b: 0 };
  }

  #atHome() {
    const { scale, a, b } = this.eye;
    return Math.abs(this.homed - scale) < 1e-3 * scale && Math.abs(a) < 1e-3 && Math.abs(b) < 1e-3;
  }

  /** [left, right, bottom, top] that the view shows, in the columns' units. */
  view() {
    const [left, top] = this.toData(0, 0);
    const { width, height } = this.#size();
    const [right, bottom] = this.toData(width, height);
    return [left, right, bottom, top];
  }

  /** The camera as a text for the address; null where all is shown. */
  camera() {
    const { scale, a, b } = this.eye;
    return this.#atHome() ? null : [scale, a, b].map((one) => one.toFixed(4)).join(",");
  }

  /** Look as an earlier `camera` said. */
  lookAs(text) {
    const [scale, a, b] = (text ?? "").split(",").map(Number);
    if (![scale, a, b].every(Number.isFinite) || !(scale > 0)) return;
    this.eye = { scale, a, b };
    this.#viewed();
  }

  #frame() {
    const { width, height } = this.#size();
    const aspect = width / height;
    return { ...this.eye, width, height, aspect, model: this.equal ? 1 : aspect };
  }

  #look() {
    const { scale, a, b, aspect, model } = this.#frame();
    const count = this.x?.length ?? 0;
    const grown = Math.asinh(Math.max(scale / this.homed, 1)) / Math.asinh(1);
    const size = (this.pointSize ?? automaticSize(count)) * grown;
    this.points.see({ scale: [(scale * model) / aspect, scale], shift: [a / aspect, b], size, opacity: this.opacity ?? automaticOpacity(count) });
  }

  /** Units of the columns of a place in the canvas, in pixels. */
  toData(left, top) {
    const { scale, a, b, width, height, aspect, model } = this.#frame();
    const { centre = [0, 0], half = [1, 1] } = this;
    const across = (((left / width) * 2 - 1) * aspect - a) / (scale * model);
    const up = (1 - (top / height) * 2 - b) / scale;
    return [across * half[0] + centre[0], up * half[1] + centre[1]];
  }

  /** Place in the canvas, in pixels, of units of the columns. */
  toPixels(x, y) {
    const { scale, a, b, width, height, aspect, model } = this.#frame();
    const { centre = [0, 0], half = [1, 1] } = this;
    const across = (((x - centre[0]) / half[0]) * scale * model + a) / aspect;
    const up = ((y - centre[1]) / half[1]) * scale + b;
    return [((across + 1) / 2) * width, ((1 - up) / 2) * height];
  }

  #viewed() {
    this.#look();
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
    cancelAnimationFrame(this.hovering);
    this.dispatchEvent(new CustomEvent("hover", { detail: null }));
  }

  #listen() {
    const { host } = this;
    host.addEventListener("pointerdown", (event) => (this.#draws(event) ? this.#down(event) : this.#grab(event)), true);
    host.addEventListener("wheel", (event) => this.#zoom(event), { passive: false });
    host.addEventListener("pointermove", (event) => this.#hover(event));
    host.addEventListener("pointerleave", () => this.#left());
    this.canvas.addEventListener("keydown", (event) => this.#pressed(event));
    let pressed = [0, 0];
    host.addEventListener(
      "pointerdown",
      (event) => {
        pressed = [event.clientX, event.clientY];
        this.drew = false; // of a lasso that was let go outside there was no click
      },
      true,
    );
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

  /** The particle nearest to a place in the canvas within some pixels of it, or null. */
  nearest(left, top, reach = REACH.click) {
    const { x, y } = this;
    if (!x) return null;
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
    cancelAnimationFrame(this.hovering);
    this.hovering = requestAnimationFrame(() => {
      const row = this.nearest(...this.#at(event), REACH.hover);
      const detail = row === null ? null : { row, left: event.clientX, top: event.clientY };
      this.dispatchEvent(new CustomEvent("hover", { detail }));
    });
  }

  /** Move and zoom by the keyboard, while the scatter has its focus. */
  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { width, height } = this.#size();
    const [across, up] = STEPS[event.key] ?? [0, 0];
    if (across || up) this.eye = { ...this.eye, a: this.eye.a + across, b: this.eye.b + up };
    else if (event.key in ZOOMS) this.#scaled(ZOOMS[event.key], width / 2, height / 2);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.#viewed();
  }

  /** Make larger or smaller about the pointer. */
  #zoom(event) {
    event.preventDefault();
    const turned = event.deltaY * (event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? this.#size().height : 1);
    this.#scaled(Math.exp(-ZOOM * turned), ...this.#at(event));
    this.#viewed();
  }

  /** Make larger by a factor about a place in the canvas, in pixels. */
  #scaled(factor, left, top) {
    const { scale, a, b, width, height, aspect } = this.#frame();
    const next = Math.max(SCALES[0], Math.min(SCALES[1], scale * factor));
    const [across, up] = [((left / width) * 2 - 1) * aspect, 1 - (top / height) * 2];
    this.eye = { scale: next, a: across - ((across - a) * next) / scale, b: up - ((up - b) * next) / scale };
  }

  /** Move what is shown with the pointer, once it has moved far enough to be no click. */
  #grab(event) {
    if (event.button !== 0) return;
    const { host } = this;
    const { a, b, width, height, aspect } = this.#frame();
    const [left, top] = this.#at(event);
    let dragged = false;
    const move = (next) => {
      const [across, down] = this.#at(next).map((one, axis) => one - [left, top][axis]);
      if (!dragged && Math.hypot(across, down) < NEAR) return;
      if (!dragged) host.setPointerCapture(event.pointerId);
      dragged = true;
      this.eye = { ...this.eye, a: a + (2 * across * aspect) / width, b: b - (2 * down) / height };
      this.#viewed();
    };
    this.#until(event, move, () => {});
  }

  /** Hear how the pointer that was pressed moves until it is let go, or taken away; no second finger is heard. */
  #until({ pointerId }, move, stop) {
    const { host } = this;
    const over = new AbortController();
    const end = (event) => {
      over.abort();
      stop(event);
    };
    const moved = (event) => (event.buttons ? move(event) : end(event)); // let go where nobody heard it
    const hear = (name, heard) => host.addEventListener(name, (event) => event.pointerId === pointerId && heard(event), { signal: over.signal });
    hear("pointermove", moved);
    for (const name of ["pointerup", "pointercancel"]) hear(name, end);
  }

  #draws(event) {
    const drawing = this.tool === "lasso" || this.tool === "box" || (this.tool === "pan" && event.shiftKey);
    return drawing && event.button === 0;
  }

  #down(event) {
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
    this.#until(event, move, (last) => {
      this.#ink();
      if (last.type === "pointerup") this.#enclosed(corners, box, last);
    });
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
