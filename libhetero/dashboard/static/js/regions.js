/** The regions of a Gaussian model: the plane and the molecule linked, edited by hand, saved for the programs. */

import { array, get, post } from "./api.js";
import { GREY, categoryColour, ramp } from "./colour.js";
import { ask, dialog } from "./dialog.js";
import { commandLine, download, el, empty, fill, labelled, select } from "./dom.js";
import { Editing } from "./editing.js";
import { extent, short, whole } from "./numbers.js";
import { Plane } from "./plane.js";
import { say, tried } from "./toast.js";

const CHOSEN = "#111111";

export class Regions {
  constructor(app, host) {
    Object.assign(this, { app, host });
  }

  /** Take another run; what is shown is fetched when the tab is opened. */
  load() {
    this.loaded = false;
    this.editing = null;
    this.viewer?.clear();
    if (this.app.state.get("tab") === "regions") this.show();
  }

  async show() {
    const { run } = this.app;
    if (this.loaded) return;
    this.loaded = true;
    if (run.family !== "gmm") {
      fill(this.host, el("div.sheet", {}, empty("No Gaussians in this run", "Regions are of Gaussian models: train one with --pointtransformer or --decoder mlp.", `e2hype_refine.py particles.lst --pointtransformer --model gmm.txt`)));
      return;
    }
    if (!run.segmentations?.length) {
      fill(this.host, el("div.sheet", {}, empty("No regions yet", "Regions of Gaussians that change together are found by", `e2hype_segment.py ${run.folder ?? run.name}`)));
      return;
    }
    const wanted = this.app.state.get("seg");
    const one = run.segmentations.find((each) => each.name === wanted) ?? run.segmentations[0];
    await tried(() => this.#open(one.name));
  }

  async #open(name) {
    const { number, run } = this.app;
    const query = `segmentation=${encodeURIComponent(name)}`;
    fill(this.host, el("div.loading", { role: "status" }, "Reading the Gaussians …"));
    const [head, raw, regions] = await Promise.all([
      get(`api/runs/${number}/gaussians?${query}`),
      array(`api/runs/${number}/gaussians/raw?${query}`, "float32"),
      get(`api/runs/${number}/regions?${query}`),
    ]);
    if (run !== this.app.run) return;
    this.name = name;
    this.head = head;
    this.columns = split(raw.values, head.columns);
    this.labels = this.columns.label;
    await this.#motions(regions, head.count);
    this.regions = regions;
    const names = Object.fromEntries(regions.filter((one) => one.name).map((one) => [one.number, one.name]));
    this.editing = new Editing(this.columns.label, names);
    this.hidden = new Set();
    this.marked = new Set();
    this.mask = new Uint8Array(head.count);
    this.by = "region";
    this.arrows = false;
    this.editing.addEventListener("change", () => this.#edited());
    await this.#build();
    this.#paint();
    this.app.state.set({ seg: name });
  }

  async #build() {
    const { run } = this.app;
    const choose = select({ "aria-label": "Segmentation", onchange: (event) => tried(() => this.#open(event.target.value)) }, run.segmentations.map((one) => [one.name, one.name]), this.name);
    const changes = this.columns.change.some(Number.isFinite);
    this.planar = this.columns.plane1.some(Number.isFinite);
    const by = select({ "aria-label": "Colour of the Gaussians", disabled: !changes, title: changes ? "" : "This segmentation does not tell how much each Gaussian changes.", onchange: (event) => ((this.by = event.target.value), this.#paint()) }, [["region", "Region"], ["change", "Change"]], this.by);
    const arrows = el("label.tick", {}, el("input", { type: "checkbox", disabled: !this.#moves(), onchange: (event) => ((this.arrows = event.target.checked), this.#paint()) }), "Motion arrows");
    this.planeHost = el("div.plane");
    this.viewHost = el("div.view");
    this.table = el("div.tablehost");
    this.actions = el("div.actions");
    this.ramp = el("div.legend");
    const planePane = el("section.pane", {}, el("header", {}, el("h2", {}, this.planar ? "Gaussians in a plane" : "Gaussians along z"), el("span.hint", {}, this.planar ? "near ones change together; draw round some to choose them" : "no plane is known of them; draw round some to choose them")), this.planeHost);
    const viewPane = el("section.pane", {}, el("header", {}, el("h2", {}, "On the molecule"), labelled("Colour", by), arrows, el("span.space"), el("button.small", { type: "button", onclick: () => tried(() => this.picture()) }, "PNG")), this.viewHost, this.ramp);
    const tablePane = el("section.pane.table", {}, el("header", {}, el("h2", {}, "Regions"), run.segmentations.length > 1 && choose, this.actions), this.table);
    fill(this.host, planePane, viewPane, tablePane);
    this.plane = new Plane(this.planeHost);
    this.plane.addEventListener("lasso", ({ detail }) => this.#choose(detail.mask, detail.event));
    this.plane.addEventListener("pick", ({ detail }) => this.#pick(detail.index, detail.event));
    const { Viewer } = await import("./viewer.js");
    this.viewer = new Viewer(this.viewHost);
    this.viewer.addEventListener("pick", ({ detail }) => this.#pick(detail.index));
  }

  /** How far each Gaussian goes, Å: from the first to the last state of its region. */
  async #motions(regions, count) {
    this.motion = null;
    for (const { number, states = [] } of regions) {
      if (states.length < 2) continue;
      const [from, to] = await Promise.all([states[0], states.at(-1)].map(({ url }) => array(url, "float32").then((one) => one.values)));
      if (from.length !== count * 5 || to.length !== from.length) continue;
      this.motion ??= new Float32Array(count * 3);
      for (let i = 0; i < count; i += 1) {
        if (this.labels[i] !== number) continue;
        for (let axis = 0; axis < 3; axis += 1) this.motion[i * 3 + axis] = to[i * 5 + axis] - from[i * 5 + axis];
      }
    }
  }

  #moves() {
    return Boolean(this.motion?.some((value) => Math.abs(value) > 0.05));
  }

  #choose(mask, event) {
    const add = event?.ctrlKey || event?.metaKey;
    const subtract = event?.altKey;
    this.mask = this.mask.map((one, i) => (add ? one | mask[i] : subtract ? one & (mask[i] ^ 1) : mask[i]));
    this.marked.clear();
    this.#paint();
  }

  /** A Gaussian that is clicked chooses its whole region; one beside all chooses none. */
  #pick(index, event) {
    const mask = new Uint8Array(this.head.count);
    if (index !== null) for (let i = 0; i < mask.length; i += 1) mask[i] = this.editing.labels[i] === this.editing.labels[index] ? 1 : 0;
    this.#choose(mask, event);
  }

  #edited() {
    this.mask = new Uint8Array(this.head.count);
    const there = this.editing.sizes();
    this.marked = new Set([...this.marked].filter((number) => there.has(number)));
    this.#paint();
  }

  #colours() {
    const { labels } = this.editing;
    if (this.by === "region") return [...labels].map((label) => categoryColour(label));
    const { change } = this.columns;
    const [, high] = extent(change);
    const shades = ramp("viridis", 64);
    return [...change].map((value) => (Number.isNaN(value) ? GREY : shades[Math.max(0, Math.min(63, Math.round((value / (high || 1)) * 63)))]));
  }

  #paint() {
    const { columns, editing } = this;
    const visible = Uint8Array.from(editing.labels, (label) => (this.hidden.has(label) ? 0 : 1));
    const colours = this.#colours();
    this.plane.draw({ x: this.planar ? columns.plane1 : columns.x, y: this.planar ? columns.plane2 : columns.y, colours, mask: this.mask, visible });
    const some = this.mask.some((one) => one);
    const position = new Float32Array(this.head.count * 3);
    const radius = new Float32Array(this.head.count);
    const typical = this.#radius();
    for (let i = 0; i < this.head.count; i += 1) {
      position.set([columns.x[i], columns.y[i], columns.z[i]], i * 3);
      radius[i] = typical * (some ? (this.mask[i] ? 1.25 : 0.55) : 1);
    }
    const shown = colours.map((colour, i) => (some && !this.mask[i] ? "#d9d9d9" : colour));
    this.viewer.gaussians({ position, colours: shown, radius, visible, arrows: this.arrows ? this.#arrows(position, typical) : null });
    this.#rampShown();
    this.#rows();
    this.#buttons(some);
  }

  /** A ball's radius, Å, that keeps neighbours apart: from the volume that the Gaussians fill. */
  #radius() {
    const spans = ["x", "y", "z"].map((axis) => extent(this.columns[axis])).map(([low, high]) => high - low);
    return 0.42 * ((spans[0] * spans[1] * spans[2]) / Math.max(this.head.count, 1)) ** (1 / 3) || 2;
  }

  #arrows(from, typical) {
    const to = Float32Array.from(from);
    for (let i = 0; i < to.length; i += 1) to[i] += this.motion[i];
    return { from, to, colour: CHOSEN, radius: typical * 0.18, shortest: typical * 0.1 };
  }

  #rampShown() {
    this.ramp.hidden = this.by !== "change";
    if (this.by !== "change") return;
    const [, high] = extent(this.columns.change);
    const stops = ramp("viridis", 12).join(", ");
    fill(this.ramp, el("h4", {}, "Change"), el("div.ramp", {}, el("i", { style: { background: `linear-gradient(to right, ${stops})` } }), el("div", {}, el("span", {}, "0"), el("span", {}, short(high)))));
  }

  #rows() {
    const sizes = this.editing.sizes();
    const stated = new Map(this.regions.map((one) => [one.number, one]));
    const head = ["", "Region", "Gaussians", "Part of the mass", "p", "Evidence", "Validation", "Shown"].map((text) => el("th", {}, text));
    const rows = [...sizes].map(([number, count]) => this.#row(number, count, stated.get(number)));
    fill(this.table, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
  }

  #row(number, count, stated) {
    const name = this.editing.name(number);
    const edited = number > 0 && count !== stated?.gaussians && this.editing.edits.length > 0;
    const see = el("input", { type: "checkbox", checked: !this.hidden.has(number), "aria-label": `Show ${name}`, title: "Show or hide", onchange: (event) => this.#see(number, event.target.checked) });
    const mark = el("input", { type: "checkbox", checked: this.marked.has(number), "aria-label": `Mark ${name}`, title: "Mark, to merge or set constant", onchange: (event) => this.#mark(number, event.target.checked) });
    const pick = el("button.plain.name", { type: "button", title: "Choose its Gaussians", onclick: () => this.#only(number) }, el("i.swatch", { style: { background: categoryColour(number) } }), name);
    const fresh = edited ? "edited: segment or eval again" : null;
    const cells = [mark, pick, whole(count), stated?.mass === undefined ? "" : `${(100 * stated.mass).toFixed(1)} %`, pOf(stated?.p), fresh ?? evidenceOf(stated), fresh || !stated ? "" : validationOf(stated.validation), see];
    return el("tr", { "data-region": number }, cells.map((cell) => el("td", {}, cell)));
  }

  #see(number, shown) {
    if (shown) this.hidden.delete(number);
    else this.hidden.add(number);
    this.#paint();
  }

  #mark(number, marked) {
    if (marked) this.marked.add(number);
    else this.marked.delete(number);
    this.#buttons(this.mask.some((one) => one));
  }

  #only(number) {
    this.mask = Uint8Array.from(this.editing.labels, (label) => (label === number ? 1 : 0));
    this.#paint();
  }

  #buttons(some) {
    const { editing } = this;
    const marked = [...this.marked];
    const locked = this.app.session.readonly;
    const button = (label, title, enabled, run) => el("button.small", { type: "button", title, disabled: !enabled, onclick: () => tried(run) }, label);
    const targets = select({ "aria-label": "Region to give the chosen Gaussians to", disabled: !some, onchange: (event) => event.target.value && editing.assign(this.mask, Number(event.target.value)) }, [["", "Chosen to …"], ...[...editing.sizes().keys()].map((number) => [number, editing.name(number)])], "");
    fill(
      this.actions,
      button("New region of chosen", "Split: the chosen Gaussians become a region (N)", some, () => editing.split(this.mask)),
      targets,
      button("Merge", "Join the marked regions (M)", marked.length > 1, () => this.merge()),
      button("Constant", "The marked regions do not change", marked.some((one) => one > 0), () => editing.constant(marked)),
      button("Rename", "Name the marked region", marked.length === 1, () => this.rename()),
      button("Undo", "Undo the last edit (Ctrl Z)", editing.edits.length > 0, () => editing.undo()),
      el("button.small.primary", { type: "button", disabled: !editing.edits.length || locked, title: locked ? "The server is read-only." : "Write a new regions file (S)", onclick: () => tried(() => this.save()) }, editing.edits.length ? `Save ${editing.edits.length} edit${editing.edits.length > 1 ? "s" : ""} …` : "Save …"),
    );
  }

  merge() {
    if (this.marked.size > 1) this.editing.merge([...this.marked]);
  }

  split() {
    if (this.mask?.some((one) => one)) this.editing.split(this.mask);
  }

  undo() {
    this.editing?.undo();
  }

  async rename() {
    const [number] = this.marked;
    const name = await ask("Rename the region", "Name", this.editing.name(number), "Rename");
    if (name) this.editing.rename(number, name);
  }

  /** Write the edited regions as a new file. */
  async save() {
    const { editing, app } = this;
    if (!editing?.edits.length) {
      say("Nothing was edited.", "fault");
      return;
    }
    const name = await ask("Save the regions", "Name of the new segmentation", `${this.name || "regions"}_edited`.replace(/[^\w.-]+/g, "_"), "Save");
    if (!name) return;
    const body = { segmentation: this.name, name, labels: [...editing.labels], names: editing.names, based_on: this.name, edits: editing.edits };
    const saved = await post(`api/runs/${app.number}/regions`, body);
    dialog("Saved", el("div.stack", {}, el("p", {}, `The regions are in ${saved.path}.`), el("h3", {}, "Masks, evidence and classes of them"), commandLine(saved.command), el("h3", {}, "Volumes along each of them"), commandLine(saved.volumes)), { wide: true });
    await app.refresh();
  }

  async picture() {
    download(await this.viewer.picture(), `${this.app.run.name}_regions.png`);
  }
}

/** Rows of numbers as one array for each column. */
export function split(values, names) {
  const width = names.length;
  const count = Math.floor(values.length / width);
  return Object.fromEntries(names.map((name, place) => [name, Float32Array.from({ length: count }, (_, i) => values[i * width + place])]));
}

/** What speaks for a region, in words. */
function evidenceOf(stated) {
  if (!stated) return "";
  const parts = [stated.amplitude, stated.motion].map((one, i) => one && one.p_value <= 0.01 && `${i ? "moves" : "amplitude"} ± ${short(one.change)}${i ? " Å" : ""} (chance ${short(one.null)})`);
  const half = stated.agreement !== undefined ? `half-sets agree ${short(stated.agreement)}` : null;
  const classes = stated.classes?.length ? `${stated.classes.length} classes` : stated.continuous ? "a continuum" : null;
  return [...parts, half, classes].filter(Boolean).join("; ");
}

function validationOf(found) {
  if (!found) return "not validated";
  return typeof found === "string" ? found : (found.verdict ?? found.words ?? "validated");
}

function pOf(p) {
  if (p === null || p === undefined) return "";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}
