/** A plane of Gaussians: a few thousand points with a lasso, drawn on one canvas. */

import { el, fill, svg } from "./dom.js";
import { inPolygon, rounded } from "./masks.js";
import { extent } from "./numbers.js";

const RIM = 18;

/** Dispatches "lasso" {mask, event} and "pick" {index, event}. */
export class Plane extends EventTarget {
  constructor(host) {
    super();
    this.host = host;
    this.canvas = el("canvas", { tabindex: 0, role: "img", "aria-label": "The Gaussians in a plane: near ones change together" });
    this.layer = svg("svg", { class: "draw" });
    fill(host, this.canvas, this.layer);
    this.canvas.addEventListener("pointerdown", (event) => this.#down(event));
    new ResizeObserver(() => this.paint()).observe(host);
  }

  /** Show points: x, y arrays; colours of each; mask of those chosen; visible of each. */
  draw(parts) {
    Object.assign(this, parts);
    this.paint();
  }

  #scale() {
    const { clientWidth: width, clientHeight: height } = this.host;
    const [x0, x1] = extent(this.x);
    const [y0, y1] = extent(this.y);
    const by = Math.min((width - 2 * RIM) / (x1 - x0 || 1), (height - 2 * RIM) / (y1 - y0 || 1));
    const left = (width - by * (x1 - x0)) / 2;
    const top = (height - by * (y1 - y0)) / 2;
    return { width, height, place: (a, b) => [left + (a - x0) * by, height - top - (b - y0) * by], back: (p, q) => [(p - left) / by + x0, (height - top - q) / by + y0] };
  }

  paint() {
    if (!this.x || !this.host.clientWidth) return;
    const { width, height, place } = this.#scale();
    const sharp = window.devicePixelRatio || 1;
    this.canvas.width = width * sharp;
    this.canvas.height = height * sharp;
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.layer.setAttribute("width", width);
    this.layer.setAttribute("height", height);
    const pen = this.canvas.getContext("2d");
    pen.scale(sharp, sharp);
    const some = this.mask?.some((one) => one);
    const radius = Math.max(2, Math.min(5.5, 90 / Math.sqrt(this.x.length)));
    for (let i = 0; i < this.x.length; i += 1) {
      const [a, b] = place(this.x[i], this.y[i]);
      pen.globalAlpha = this.visible && !this.visible[i] ? 0.08 : some && !this.mask[i] ? 0.25 : 0.9;
      pen.fillStyle = this.colours[i];
      pen.beginPath();
      pen.arc(a, b, radius, 0, 7);
      pen.fill();
      if (some && this.mask[i]) {
        pen.globalAlpha = 1;
        pen.lineWidth = 1.2;
        pen.strokeStyle = "#111111";
        pen.stroke();
      }
    }
  }

  #down(event) {
    if (!this.x || event.button !== 0) return;
    const box = this.canvas.getBoundingClientRect();
    const at = (one) => [one.clientX - box.left, one.clientY - box.top];
    this.canvas.setPointerCapture(event.pointerId);
    const corners = [at(event)];
    const move = (next) => {
      const place = at(next);
      if (Math.hypot(place[0] - corners.at(-1)[0], place[1] - corners.at(-1)[1]) < 4) return;
      corners.push(place);
      fill(this.layer, svg("polygon", { points: corners.map((one) => one.join(",")).join(" "), class: "lasso" }));
    };
    const stop = (last) => {
      this.canvas.removeEventListener("pointermove", move);
      fill(this.layer);
      const { back, place } = this.#scale();
      if (corners.length > 2) {
        const mask = inPolygon(this.x, this.y, rounded(corners.map((one) => back(...one))));
        this.dispatchEvent(new CustomEvent("lasso", { detail: { mask, event: last } }));
      } else this.dispatchEvent(new CustomEvent("pick", { detail: { index: this.#nearest(corners[0], place), event: last } }));
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", stop, { once: true });
  }

  #nearest([left, top], place) {
    let best = null;
    let least = 100;
    for (let i = 0; i < this.x.length; i += 1) {
      const [a, b] = place(this.x[i], this.y[i]);
      const far = (a - left) ** 2 + (b - top) ** 2;
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }
}
