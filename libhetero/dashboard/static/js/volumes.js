/** Volumes that were decoded: one, two side by side, their difference, or a film along a path. */

import { PALETTE } from "./colour.js";
import { Decoding } from "./decoding.js";
import { download, el, empty, fill, labelled, select } from "./dom.js";
import { short } from "./numbers.js";
import { say, tried } from "./toast.js";

const WAYS = [["one", "One"], ["side", "Side by side"], ["over", "Overlaid"], ["difference", "Difference"]];
const FIRST = "#e0a030";
const SECOND = PALETTE[0];
const MORE = PALETTE[0];
const LESS = PALETTE[1];
const HELD = 40; // volumes kept in memory for a film

export class Volumes {
  constructor(app, panel, pane) {
    Object.assign(this, { app, panel, pane });
    this.decoding = new Decoding(app, panel, (result) => this.#made(result));
    this.sets = [];
    this.way = "one";
    this.playing = 0;
  }

  /** Take another run. */
  load() {
    this.stop();
    this.decoding.load();
    this.sets = (this.app.run.volumes ?? []).filter((set) => set.series?.length);
    this.held = new Map();
    for (const viewer of this.viewers ?? []) viewer.clear();
    this.level = null;
    const wanted = this.app.state.get("vol");
    const set = this.sets.find((one) => one.name === wanted) ?? this.sets[0] ?? null;
    this.set = set;
    this.at = Math.min(Number(this.app.state.get("i") ?? 0) || 0, Math.max((set?.series.length ?? 1) - 1, 0));
    this.other = Math.min(1, Math.max((set?.series.length ?? 1) - 1, 0));
    if (this.app.state.get("tab") === "volumes") this.show();
  }

  async #made(result) {
    if (!result?.series?.length) return;
    this.sets = [result, ...this.sets.filter((one) => one.name !== result.name)];
    this.app.state.set({ tab: "volumes" });
    await this.choose(result);
    this.places?.[0].querySelector(".stage").focus(); // keys now mean the volumes, not the button that was clicked
  }

  async choose(set) {
    this.stop();
    this.set = set;
    this.at = 0;
    this.other = Math.min(1, set.series.length - 1);
    this.level = null;
    for (const viewer of this.viewers ?? []) viewer.centred = false;
    this.app.state.set({ level: null });
    await this.show();
  }

  /** Open NGL, which is large, when a volume is first looked at. */
  async #open() {
    if (this.viewers) return;
    const { Viewer } = await import("./viewer.js");
    this.places = [el("div.view"), el("div.view", { hidden: true })];
    this.views = el("div.views", {}, this.places);
    this.toolbar = el("div.toolbar.viewbar", { role: "toolbar", "aria-label": "Volumes" });
    this.foot = el("div.viewfoot");
    fill(this.pane, this.toolbar, this.views, this.foot);
    try {
      this.viewers = this.places.map((place) => new Viewer(place));
    } catch (fault) {
      console.warn(fault);
      fill(this.pane, empty("No WebGL", "This browser cannot draw volumes: turn hardware acceleration on. The .mrc files can be downloaded and opened elsewhere."));
      throw new Error("This browser cannot draw volumes.");
    }
    this.viewers.forEach((viewer, i) =>
      viewer.addEventListener("turned", () => {
        if (this.turning || this.way !== "side") return;
        this.turning = true;
        this.viewers[1 - i].orient(viewer.orientation());
        this.turning = false;
      }),
    );
  }

  /** Show the chosen set. */
  async show() {
    if (!this.set) {
      if (!this.viewers) fill(this.pane, empty("No volumes yet", "Click particles in the scatter, or choose a class or a path, and decode: the volume appears here."));
      else fill(this.toolbar);
      return;
    }
    await tried(async () => {
      this.pane.classList.add("busy");
      await this.#open();
      this.#bar();
      await this.#draw();
    });
    this.pane.classList.remove("busy");
  }

  #entry(index) {
    const one = this.set.series[index];
    return typeof one === "string" ? { label: one.split("/").pop(), url: one } : one;
  }

  async #component(index, viewer = 0) {
    const { url, label } = this.#entry(index);
    const key = `${viewer} ${url}`;
    if (!this.held.has(key)) {
      const asked = this.viewers[viewer].volume(url, label);
      asked.catch(() => this.held.delete(key));
      this.held.set(key, asked);
      for (const [old, component] of this.held) {
        if (this.held.size <= HELD) break;
        this.held.delete(old);
        component.then((one) => this.viewers[Number(old[0])].forget(one));
      }
    }
    return this.held.get(key);
  }

  async #draw() {
    const asked = (this.asked = Symbol("draw"));
    const { at, other, way } = this;
    this.places[1].hidden = way !== "side";
    const first = await this.#component(at);
    if (asked !== this.asked) return;
    if (this.level === null) this.#levelOf(first, this.#entry(at).level);
    const { level } = this;
    if (way === "one") this.viewers[0].surfaces([{ component: first, level, colour: FIRST }]);
    else if (way === "side") {
      const second = await this.#component(other, 1);
      if (asked !== this.asked) return;
      this.viewers[0].surfaces([{ component: first, level, colour: FIRST }]);
      this.viewers[1].surfaces([{ component: second, level, colour: SECOND }]);
      this.viewers[1].orient(this.viewers[0].orientation());
    } else {
      const second = await this.#component(other);
      if (asked !== this.asked) return;
      if (way === "over") this.viewers[0].surfaces([{ component: first, level, colour: FIRST }, { component: second, level, colour: SECOND, opacity: 0.45 }]);
      else this.#difference(first, second);
    }
    this.#words();
    this.app.state.set({ vol: this.set.name, i: at || null });
    this.pane.dataset.shown = `${this.set.name} ${at} ${way}`;
  }

  #levelOf(component, level) {
    const { volume } = component;
    const [low, high] = [volume.min, volume.max];
    this.limits = [Math.min(0, low), high];
    this.deviation = volume.rms || (high - low) / 10;
    this.level = Number(this.app.state.get("level")) || level || volume.mean + 3 * (volume.rms || 0) || high / 2;
    Object.assign(this.slider, { min: this.limits[0], max: high, step: (high - this.limits[0]) / 400 });
    this.slider.value = this.level;
    this.number.value = Number(this.level.toPrecision(4));
  }

  #difference(first, second) {
    const [a, b] = [first.volume.data, second.volume.data];
    const key = `${first.name} ${second.name}`;
    if (this.subtracted?.key !== key) {
      if (this.subtracted) this.subtracted.components.forEach((one) => this.viewers[0].forget(one));
      const more = new Float32Array(a.length);
      const less = new Float32Array(a.length);
      let squares = 0;
      for (let i = 0; i < a.length; i += 1) {
        more[i] = b[i] - a[i];
        less[i] = -more[i];
        squares += more[i] * more[i];
      }
      const components = [this.viewers[0].derived(first, more, "more"), this.viewers[0].derived(first, less, "less")];
      this.subtracted = { key, components, deviation: Math.sqrt(squares / a.length) };
    }
    const { components, deviation } = this.subtracted;
    const level = Math.max(4 * deviation, 1e-12);
    this.viewers[0].surfaces([
      { component: first, level: this.level, colour: "#9a9a9a", opacity: 0.3 },
      { component: components[0], level, colour: MORE },
      { component: components[1], level, colour: LESS },
    ]);
  }

  #bar() {
    const { series } = this.set;
    const names = series.map((_, i) => [i, this.#entry(i).label]);
    const way = ([name, label]) => el("button", { type: "button", "aria-pressed": String(this.way === name), disabled: name !== "one" && series.length < 2, title: series.length < 2 && name !== "one" ? "This set has one volume." : label, onclick: () => this.#compare(name) }, label);
    this.slider = el("input", { type: "range", "aria-label": "Level of the surface", oninput: () => this.setLevel(this.slider.valueAsNumber) });
    this.number = el("input.level", { type: "number", step: "any", "aria-label": "Level of the surface, density", onchange: () => this.setLevel(this.number.valueAsNumber) });
    this.picker = select({ "aria-label": "Volume", onchange: () => this.go(Number(this.picker.value)) }, names, this.at);
    this.second = select({ "aria-label": "Second volume", onchange: () => this.#goOther(Number(this.second.value)) }, names, this.other);
    this.player = el("button", { type: "button", title: "Play the series (Space)", disabled: series.length < 2, onclick: () => this.play() }, "Play");
    const sets = select({ "aria-label": "Set of volumes", onchange: (event) => this.choose(this.sets[Number(event.target.value)]) }, this.sets.map((one, i) => [i, one.name]), this.sets.indexOf(this.set));
    fill(
      this.toolbar,
      el("div.row", {}, labelled("Set", sets), labelled("Volume", this.picker), this.way !== "one" && labelled("and", this.second), this.player),
      el("div.row", {}, el("div.group", { role: "group", "aria-label": "Compare" }, WAYS.map(way)), el("span.levelled", {}, labelled("Level", this.slider), this.number)),
    );
    if (this.level !== null && this.limits) {
      Object.assign(this.slider, { min: this.limits[0], max: this.limits[1], step: (this.limits[1] - this.limits[0]) / 400 });
      this.slider.value = this.level;
      this.number.value = Number(this.level.toPrecision(4));
    }
    this.#files();
  }

  #files() {
    const links = el("span.row");
    const refreshed = () => {
      const { url, label } = this.#entry(this.at);
      fill(
        links,
        el("a.button.small", { href: url, download: `${label.replace(/[^\w.-]+/g, "_").replace(/\.mrc$/, "")}.mrc` }, ".mrc"),
        this.set.cxc && el("a.button.small", { href: this.set.cxc, download: `${this.set.name}.cxc`, title: "Opens the whole set in ChimeraX" }, "ChimeraX"),
        el("button.small", { type: "button", onclick: () => tried(() => this.picture()), title: "Save the picture" }, "PNG"),
        el("button.small", { type: "button", onclick: () => this.viewers.forEach((one) => one.centre()), title: "Centre (F)" }, "Centre"),
      );
    };
    this.relink = refreshed;
    this.caption = el("span.caption");
    fill(this.foot, this.caption, el("span.space"), links);
    refreshed();
  }

  #words() {
    const [a, b] = [this.#entry(this.at).label, this.#entry(this.other).label];
    const legend = (colour, text) => [el("i.swatch", { style: { background: colour } }), text];
    const words = {
      one: legend(FIRST, a),
      side: [legend(FIRST, a), " · ", legend(SECOND, b)],
      over: [legend(FIRST, a), " · ", legend(SECOND, b)],
      difference: [legend(MORE, `more in ${b}`), " · ", legend(LESS, `less, against ${a}`)],
    };
    fill(this.caption, words[this.way], el("span.faint", {}, ` level ${short(this.level)}${this.way === "difference" ? "; difference at 4 deviations" : ""}`));
  }

  /** Put the surface at a density. */
  setLevel(level) {
    if (!Number.isFinite(level)) return;
    this.level = level;
    this.slider.value = level;
    this.number.value = Number(level.toPrecision(4));
    this.app.state.set({ level: Number(level.toPrecision(4)) });
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => tried(() => this.#draw()));
  }

  /** Move the level by a part of its range. */
  nudge(direction) {
    if (this.limits) this.setLevel(Math.max(this.limits[0], Math.min(this.limits[1], this.level + (direction * (this.limits[1] - this.limits[0])) / 60)));
  }

  #compare(way) {
    this.way = way;
    for (const viewer of this.viewers) viewer.centred = false; // a difference may reach farther than its volumes
    if (this.other === this.at) this.other = (this.at + 1) % this.set.series.length;
    this.#bar();
    tried(() => this.#draw());
  }

  /** Show volume `index` of the set. */
  async go(index) {
    const { length } = this.set?.series ?? [];
    if (!length) return;
    this.at = ((index % length) + length) % length;
    this.picker.value = this.at;
    this.relink?.();
    await tried(() => this.#draw());
  }

  #goOther(index) {
    this.other = index;
    tried(() => this.#draw());
  }

  /** Play the series, or stop. */
  async play() {
    if (this.playing) {
      this.stop();
      return;
    }
    if (!this.set || this.set.series.length < 2) return;
    const mine = (this.playing = Date.now());
    this.player.textContent = "Stop";
    let direction = 1;
    while (this.playing === mine) {
      if (this.at + direction >= this.set.series.length || this.at + direction < 0) direction = -direction;
      await this.go(this.at + direction);
      await new Promise((resolve) => setTimeout(resolve, 220));
    }
  }

  stop() {
    this.playing = 0;
    if (this.player) this.player.textContent = "Play";
  }

  /** Save what is shown as PNG. */
  async picture() {
    const { label } = this.#entry(this.at);
    download(await this.viewers[0].picture(), `${this.app.run.name}_${label.replace(/[^\w.-]+/g, "_")}.png`);
  }

  /** Decode what is chosen by the keyboard. */
  decode() {
    if (this.app.session.readonly) say("The server is read-only.", "fault");
    else tried(() => this.decoding.particles());
  }
}
