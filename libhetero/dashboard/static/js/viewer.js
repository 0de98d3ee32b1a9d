/** Volumes as isosurfaces and Gaussians as balls, by NGL. */

import "../vendor/ngl.js";
import { rgb } from "./colour.js";
import { el, fill } from "./dom.js";

const { NGL } = globalThis;

/** What NGL is told of the balls, to say which was clicked. */
class Picker {
  constructor(array) {
    Object.assign(this, { array, type: "ball", data: {} });
  }

  getIndex(place) {
    return this.array[place];
  }

  getObject(place) {
    return { index: this.array[place] };
  }
}

/** One window into three dimensions; dispatches "pick" {index} for a Gaussian and "turned" when it is turned. */
export class Viewer extends EventTarget {
  constructor(host) {
    super();
    this.host = host;
    this.place = el("div.stage", { tabindex: 0, role: "img", "aria-label": "Volume" });
    fill(host, this.place);
    this.stage = new NGL.Stage(this.place, {
      backgroundColor: "white",
      ambientIntensity: 0.35,
      lightIntensity: 1.1,
      tooltip: false,
      fogNear: 60,
      fogFar: 100,
      clipDist: 0,
      sampleLevel: 0,
    });
    this.stage.mouseControls.remove("clickPick-*");
    this.stage.signals.clicked.add((picked) => this.#picked(picked));
    this.stage.viewerControls.signals.changed.add(() => this.dispatchEvent(new Event("turned")));
    this.watch = new ResizeObserver(() => this.stage.handleResize());
    this.watch.observe(this.place);
    this.shown = [];
  }

  #picked(picked) {
    const index = this.kept?.[picked?.pid] ?? null;
    if (this.balls && picked?.picker?.type === "ball" && index !== null) this.dispatchEvent(new CustomEvent("pick", { detail: { index } }));
  }

  /** Read a .mrc, and return {component, statistics}; nothing is shown yet. */
  async volume(url, name) {
    const blob = await fetched(url);
    const component = await this.stage.loadFile(blob, { ext: "mrc", name, defaultRepresentation: false });
    return component;
  }

  /** A volume of its own numbers on the grid of another. */
  derived(component, data, name) {
    const of = component.volume;
    const volume = new NGL.Volume(name, "", data, of.nx, of.ny, of.nz);
    volume.setMatrix(of.matrix);
    return this.stage.addComponentFromObject(volume, { defaultRepresentation: false });
  }

  /** Show surfaces: [{component, level, colour, opacity}], and nothing else. */
  surfaces(list) {
    const keep = new Set(list.map((one) => one.component));
    this.stage.eachComponent((component) => {
      if (component.type === "volume") component.setVisibility(keep.has(component));
    });
    for (const { component, level, colour, opacity = 1 } of list) {
      const style = { isolevelType: "value", isolevel: level, color: colour, opacity, opaqueBack: false, useWorker: false };
      const [there] = component.reprList;
      if (!there) component.addRepresentation("surface", { ...style, smooth: 1, side: "double", roughness: 0.6, metalness: 0.05 });
      else if (there.name && changed(there, style)) there.setParameters(style);
    }
    this.shown = list;
    this.#seen();
  }

  #seen() {
    if (this.centred || !this.stage.compList.length) return;
    this.centred = true;
    this.stage.tasks.onZeroOnce(() => requestAnimationFrame(() => this.stage.autoView(0)));
  }

  /** Look at everything anew. */
  centre() {
    this.stage.autoView(300);
  }

  /** Forget every volume and ball. */
  clear() {
    this.stage.removeAllComponents();
    this.shown = [];
    this.balls = null;
    this.centred = false;
  }

  /** Give back what it holds of the graphics card; it shows nothing any more. */
  close() {
    this.watch.disconnect();
    this.clear();
    this.stage.dispose();
    this.stage.viewer.renderer.forceContextLoss();
  }

  /** Forget one component. */
  forget(component) {
    this.stage.removeComponent(component);
  }

  /**
   * Show Gaussians as balls: position Float32Array 3N (Å), colours "#rrggbb" and radius (Å) of each, arrows optional:
   * {from, to, colour}.
   */
  gaussians({ position, colours, radius, visible, arrows }) {
    if (this.balls) this.stage.removeComponent(this.balls);
    const shape = new NGL.Shape("Gaussians", { disableImpostor: false });
    const kept = visible ? [...visible.keys()].filter((i) => visible[i]) : [...radius.keys()];
    const colour = new Float32Array(kept.length * 3);
    const places = new Float32Array(kept.length * 3);
    kept.forEach((i, at) => {
      colour.set(rgb(colours[i]).map((value) => value / 255), at * 3);
      places.set(position.subarray(i * 3, i * 3 + 3), at * 3);
    });
    this.kept = kept;
    if (kept.length) {
      const balls = { position: places, color: colour, radius: Float32Array.from(kept, (i) => radius[i]) };
      shape.addBuffer(new NGL.SphereBuffer({ ...balls, picking: new Picker(kept) }));
    }
    if (arrows) addArrows(shape, arrows, kept);
    this.balls = this.stage.addComponentFromObject(shape);
    this.balls.addRepresentation("buffer", { opacity: 1 });
    this.#seen();
  }

  /** How it is turned, for another window or the address. */
  orientation() {
    return this.stage.viewerControls.getOrientation().elements.slice();
  }

  /** Turn as another window. */
  orient(elements) {
    const matrix = this.stage.viewerControls.getOrientation();
    matrix.fromArray(elements);
    this.stage.viewerControls.orient(matrix);
  }

  /** A PNG of what is shown, as a blob. */
  picture(factor = 2) {
    return this.stage.makeImage({ factor, antialias: true, trim: false, transparent: false });
  }
}

function changed(representation, style) {
  const now = representation.getParameters();
  return Object.entries(style).some(([name, value]) => now[name] !== value);
}

function addArrows(shape, arrows, kept) {
  const from = [];
  const to = [];
  const colour = [];
  for (const i of kept) {
    const start = arrows.from.subarray(i * 3, i * 3 + 3);
    const end = arrows.to.subarray(i * 3, i * 3 + 3);
    if (Math.hypot(end[0] - start[0], end[1] - start[1], end[2] - start[2]) < arrows.shortest) continue;
    from.push(...start);
    to.push(...end);
    colour.push(...rgb(arrows.colour).map((value) => value / 255));
  }
  if (!from.length) return;
  const radius = new Float32Array(from.length / 3).fill(arrows.radius);
  const parts = { position1: Float32Array.from(from), position2: Float32Array.from(to), color: Float32Array.from(colour), radius };
  shape.addBuffer(new NGL.ArrowBuffer({ ...parts, aspectRatio: 1.6 }, { radialSegments: 10, openEnded: false }));
}

async function fetched(url) {
  const response = await fetch(url, { credentials: "same-origin" });
  if (!response.ok) throw new Error(`The volume could not be read: ${response.status} ${response.statusText}.`);
  return response.blob();
}
