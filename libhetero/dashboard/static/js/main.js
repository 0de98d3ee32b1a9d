/** The page: which run, which tab, and the parts that they share. */

import { get } from "./api.js";
import { Choosing } from "./choosing.js";
import { Columns } from "./columns.js";
import { Compare } from "./compare.js";
import { el, empty, fill, select } from "./dom.js";
import { saveSelection } from "./export.js";
import { Jobs, JobsTab } from "./jobs.js";
import { Keys } from "./keys.js";
import { Latent } from "./latent.js";
import { rowsIn, whole } from "./numbers.js";
import { Regions } from "./regions.js";
import { Selection } from "./selection.js";
import { State } from "./state.js";
import { Strip } from "./strip.js";
import { say, tried } from "./toast.js";
import { Training } from "./training.js";
import { Volumes } from "./volumes.js";

const TABS = [
  ["latent", "Latent"],
  ["volumes", "Volumes"],
  ["regions", "Regions"],
  ["training", "Training"],
  ["compare", "Compare"],
  ["jobs", "Jobs"],
];
const STATES = { training: "training", stopped: "stopped", finished: "finished", empty: "not begun", elsewhere: "on another machine" };

/** What every part knows: session, run, columns, selection, jobs. Dispatches "pick", "path" and "runstate". */
class App extends EventTarget {
  constructor() {
    super();
    this.state = new State();
    this.jobs = new Jobs();
    this.keys = new Keys(() => this.state.get("tab"));
  }

  async start() {
    this.session = await get("api/session");
    if (!this.session.runs.length) throw new Error("The server was given no run.");
    this.#layout();
    this.#bar();
    this.#keyboard();
    await tried(() => this.jobs.start());
    this.jobs.addEventListener("change", () => this.#badge());
    this.state.addEventListener("change", ({ detail }) => this.#changed(detail));
    this.addEventListener("runstate", () => this.#bar());
    this.#tab();
    await this.#run();
    this.#watch();
  }

  #layout() {
    const panel = (name) => el("aside.panel", { id: name });
    this.parts = {
      axes: panel("axes"), choosing: panel("choosing"), decoding: panel("decoding"),
      scatter: el("section.pane.scatter", { "aria-label": "Scatter of particles" }),
      viewer: el("section.pane.viewer", { "aria-label": "Volumes" }),
      strip: el("section.strip"),
      regions: el("div.tab.regions"), training: el("div.tab"), compare: el("div.tab"), jobs: el("div.tab"),
    };
    const { parts } = this;
    this.work = el("div.work", {}, el("div.side", {}, parts.decoding, parts.axes, parts.choosing), parts.scatter, parts.viewer, parts.strip);
    this.main = document.getElementById("main");
    fill(this.main, this.work, parts.regions, parts.training, parts.compare, parts.jobs);
    this.latent = new Latent(this, parts.axes, parts.scatter);
    this.choosing = new Choosing(this, parts.choosing);
    this.volumes = new Volumes(this, parts.decoding, parts.viewer);
    this.tabs = { regions: new Regions(this, parts.regions), training: new Training(this, parts.training), compare: new Compare(this, parts.compare), jobs: new JobsTab(this, parts.jobs) };
    this.addEventListener("pick", ({ detail }) => detail.row !== null && this.state.get("tab") === "latent" && this.look(detail.row));
  }

  /** Show one particle's image in the strip and where it lies. */
  async look(row) {
    const { latent, columns } = this;
    this.strip.set(Uint32Array.of(row), `Particle ${whole(row)}`);
    const [x, y] = await Promise.all([columns.values(latent.x), columns.values(latent.y)]);
    latent.scatter?.mark([{ x: x[row], y: y[row], label: String(row) }]);
  }

  #bar() {
    const { runs, readonly, version } = this.session;
    const tab = this.state.get("tab");
    const current = runs.find((run) => String(run.run) === this.state.get("run")) ?? runs[0];
    const facts = [
      STATES[current.state] ?? current.state,
      current.particles ? rowsIn(current) : null,
      current.box ? `${current.box} px` : null,
      current.apix ? `${Number(current.apix.toPrecision(4))} Å/px` : null,
      current.epochs ? `epoch ${Math.floor(current.epoch ?? 0)} of ${current.epochs}` : null,
    ].filter(Boolean);
    this.jobsBadge = el("span.badge", { hidden: true });
    fill(
      document.getElementById("bar"),
      el("a.brand", { href: "#", title: `libhetero ${version}` }, el("img", { src: "icon.svg", alt: "", width: 22, height: 22 }), "libhetero"),
      select({ "aria-label": "Run", id: "run", onchange: (event) => this.state.set({ run: event.target.value, cam: null, sel: null, vol: null, i: null, level: null, seg: null, x: null, y: null, c: null }) }, runs.map((run) => [run.run, run.name]), current.run),
      el("span.runfacts", { title: (current.warnings ?? []).join("\n") }, el("i", { class: `dot is-${current.state}` }), facts.join(" · "), current.warnings?.length ? el("span.warn", { title: current.warnings.join("\n"), tabindex: 0 }, ` ⚠ ${current.warnings.length}`) : null),
      el("nav", { "aria-label": "Pages" }, TABS.map(([name, label]) => el("button.tabname", { type: "button", "aria-current": name === tab ? "page" : null, onclick: () => this.state.set({ tab: name }) }, label, name === "jobs" && this.jobsBadge))),
      readonly && el("span.chip", { title: "Nothing is written or run." }, "read-only"),
      el("button.plain.help", { type: "button", "aria-label": "Keys", title: "Keys and mouse (?)", onclick: () => this.keys.help() }, "?"),
    );
    document.title = `${current.name} · libhetero`;
    this.#badge();
  }

  #badge() {
    const count = this.jobs.active().length;
    this.jobsBadge.hidden = !count;
    this.jobsBadge.textContent = count;
  }

  #changed(names) {
    if (names.includes("tab")) this.#tab();
    if (names.includes("run")) tried(() => this.#run());
    else if (["x", "y", "c", "map"].some((name) => names.includes(name))) this.#addressed();
  }

  /** The address was changed by hand or by going back: axes and colour follow. */
  #addressed() {
    const { state, latent, columns } = this;
    const wanted = { x: state.get("x"), y: state.get("y"), colour: state.get("c") };
    const changes = Object.entries(wanted).filter(([name, value]) => value && value !== latent[name] && columns.find(value));
    if (changes.length) tried(() => latent.set(Object.fromEntries(changes)));
  }

  #tab() {
    const tab = TABS.some(([name]) => name === this.state.get("tab")) ? this.state.get("tab") : "latent";
    document.body.dataset.tab = tab;
    this.#bar();
    if (tab !== "volumes") this.volumes.stop();
    this.latent.use("pan");
    if (!this.columns) return;
    if (tab === "volumes") this.volumes.show();
    this.tabs[tab]?.show();
  }

  async #run() {
    const wanted = this.state.get("run");
    this.run = this.session.runs.find((run) => String(run.run) === wanted) ?? this.session.runs[0];
    this.number = this.run.run;
    this.#bar();
    const { run } = this;
    let columns = new Columns(this.number);
    try {
      await columns.load();
    } catch (fault) {
      say(fault.message, "fault");
    }
    if (run !== this.run) return;
    this.columns = columns;
    this.selection = new Selection(run.particles ?? 0);
    this.strip?.leave();
    this.strip = new Strip(this.parts.strip, this.number, (row) => this.look(row), (run.box ?? 0) * (run.apix ?? 0));
    const strip = this.strip;
    const { selection } = this;
    selection.addEventListener("change", () => {
      this.state.set({ sel: null });
      strip.set(selection.rows(), "Chosen particles");
    });
    this.choosing.load();
    this.volumes.load();
    for (const tab of Object.values(this.tabs)) tab.load?.();
    const kept = (run.selections ?? []).find((one) => one.name === this.state.get("sel"));
    await this.latent.load();
    if (kept) await tried(() => this.choosing.choose(kept));
    document.body.dataset.ready = String(this.number);
  }

  /** Ask the server again what there is: something was saved or has been made. */
  async refresh() {
    this.session = await get("api/session");
    this.run = this.session.runs.find((run) => run.run === this.number);
  }

  /** A run that trains gets columns and volumes as it goes: look again now and then. */
  #watch() {
    setInterval(async () => {
      if (!["training", "elsewhere"].includes(this.run.state) || document.hidden) return;
      try {
        this.session = await get("api/session");
      } catch {
        return;
      }
      const now = this.session.runs.find((run) => run.run === this.number);
      const grown = now.epoch !== this.run.epoch || now.state !== this.run.state;
      const held = this.columns.list.length;
      Object.assign(this.run, now);
      if (!grown) return;
      this.#bar();
      if (!held) await tried(() => this.#run());
    }, 10000);
  }

  #keyboard() {
    const { keys, state } = this;
    TABS.forEach(([name, label], i) => keys.add([String(i + 1)], label, () => state.set({ tab: name })));
    const work = ["latent", "volumes"];
    keys.add(["p"], "Move and click", () => this.latent.use("pan"), work);
    keys.add(["l"], "Lasso", () => this.latent.use("lasso"), work);
    keys.add(["b"], "Box", () => this.latent.use("box"), work);
    keys.add(["t"], "Path", () => this.latent.use("path"), ["volumes"]);
    keys.add(["f"], "Show everything", () => this.latent.scatter?.fit(), work);
    keys.add(["i"], "Invert the selection", () => this.selection.invert(), work);
    keys.add(["Escape"], "Choose none, and the tool that moves", () => this.#escaped(), work);
    keys.add(["Ctrl+z"], "Undo", () => (state.get("tab") === "regions" ? this.tabs.regions.undo() : this.selection.undo()), [...work, "regions"]);
    keys.add(["Ctrl+y"], "Redo", () => this.selection.redo(), work);
    keys.add(["s"], "Save the selection, or the edited regions", () => (state.get("tab") === "regions" ? tried(() => this.tabs.regions.save()) : saveSelection(this)), [...work, "regions"]);
    keys.add(["ArrowLeft"], "Particles, or volume, before", () => (state.get("tab") === "volumes" ? this.volumes.go(this.volumes.at - 1) : this.strip.turn(-1)), work);
    keys.add(["ArrowRight"], "Particles, or volume, after", () => (state.get("tab") === "volumes" ? this.volumes.go(this.volumes.at + 1) : this.strip.turn(1)), work);
    keys.add(["v"], "Decode the particles clicked", () => this.volumes.decode(), ["volumes"]);
    keys.add([" "], "Play the series of volumes", () => this.volumes.play(), ["volumes"]);
    keys.add(["["], "Lower the level", () => this.volumes.nudge(-1), ["volumes"]);
    keys.add(["]"], "Raise the level", () => this.volumes.nudge(1), ["volumes"]);
    keys.add(["n"], "New region of the chosen Gaussians", () => this.tabs.regions.split(), ["regions"]);
    keys.add(["m"], "Merge the marked regions", () => this.tabs.regions.merge(), ["regions"]);
    keys.add(["?"], "These keys", () => keys.help());
  }

  #escaped() {
    this.latent.use("pan");
    this.latent.scatter?.mark([]);
    this.selection.clear();
  }
}

const app = new App();
globalThis.libhetero = app;
app.start().catch((fault) => {
  console.error(fault);
  const expired = fault.status === 403 || fault.status === 401;
  const text = expired ? "The link was used by another browser, or the server was started anew. Open the address that the server printed last." : fault.message;
  fill(document.getElementById("main"), el("div.sheet", {}, empty(expired ? "This browser has no key" : "The dashboard cannot start", text), el("p", {}, el("button", { type: "button", onclick: () => location.reload() }, "Try again"))));
});
