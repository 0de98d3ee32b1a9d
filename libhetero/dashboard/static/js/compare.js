/** Two runs of the same particles: whether they say the same, and each one's latent coloured by the other. */

import { array, get } from "./api.js";
import { curves } from "./charts.js";
import { MAP_NAMES, PALETTE, categoryColour, colouring, mapFor, ramp } from "./colour.js";
import { Columns } from "./columns.js";
import { commandLine, el, empty, fill, labelled, select } from "./dom.js";
import { drawLegend } from "./legend.js";
import { quantiles, short, titled, whole } from "./numbers.js";
import { Scatter } from "./scatter.js";
import { tried } from "./toast.js";

const COLOURS = ["#e0a030", PALETTE[0]]; // of the first and the second run's volumes

export class Compare {
  constructor(app, host) {
    Object.assign(this, { app, host, windows: [] }); // windows: those that hold something of the graphics card
  }

  load() {
    this.built = false;
    if (this.app.state.get("tab") === "compare") this.show();
  }

  async show() {
    const { runs } = this.app.session;
    if (runs.length < 2) {
      const command = `e2hype_dashboard.py ${runs[0]?.folder ?? runs[0]?.name ?? "RUN"} OTHER_RUN`;
      fill(this.host, el("div.sheet", {}, empty("One run alone", "Start the dashboard with two runs, or a folder of runs, to compare them.", command)));
      return;
    }
    if (this.built) return;
    this.built = true;
    const a = this.app.number;
    const wanted = Number(this.app.state.get("with") ?? -1);
    const b = runs.some((run) => run.run === wanted && wanted !== a) ? wanted : runs.find((run) => run.run !== a).run;
    await this.#open(a, b);
  }

  async #open(a, b) {
    const { runs } = this.app.session;
    this.app.state.set({ with: b });
    const other = select({ onchange: (event) => this.#open(a, Number(event.target.value)) }, runs.filter((run) => run.run !== a).map((run) => [run.run, run.name]), b);
    for (const one of this.windows.splice(0)) one.close();
    this.viewer = null;
    this.body = el("div.compared");
    fill(this.host, el("div.sheet", {}, el("header.row", {}, el("h2", {}, `${this.app.run.name} and`), labelled("", other)), this.body));
    fill(this.body, el("div.loading", { role: "status" }, "Comparing …"));
    try {
      const found = await get(`api/compare?runs=${a},${b}`);
      fill(this.body);
      this.#verdict(found, a, b);
      await tried(() => this.#latents(a, b, found));
      this.#agreements(found, a, b);
      this.#volumes(found, a, b);
      this.#losses(found);
    } catch (fault) {
      fill(this.body, empty("These runs cannot be compared", fault.message));
    }
  }

  #name(number) {
    return this.app.session.runs.find((run) => run.run === number).name;
  }

  #verdict(found, a, b) {
    const fact = (label, value) => el("div", {}, el("small", {}, label), el("b", {}, value));
    const canonical = (found.canonical ?? []).slice(0, 4).map((value) => value.toFixed(2)).join(", ");
    this.body.append(
      el("p.verdict", {}, found.verdict ?? ""),
      el("div.facts", {}, fact("Particles in both", whole(found.matched ?? 0)), canonical ? fact("Canonical correlations", canonical) : null, found.classes ? fact("Classes, adjusted Rand index", found.classes.ari.toFixed(2)) : null, found.regions ? fact("Regions, adjusted Rand index", found.regions.ari.toFixed(2)) : null),
      ...(found.left_out ?? []).map((why) => el("p.hint", {}, why)),
      el("details", {}, el("summary", {}, "The whole comparison from a terminal"), commandLine(`e2hype_compare.py ${[a, b].map((one) => this.app.session.runs[one]?.folder ?? this.#name(one)).join(" ")}`)),
    );
  }

  /** Each latent, coloured by a column of the other run. */
  async #latents(a, b, found) {
    if (!found.matched) return;
    const [first, second] = await Promise.all([new Columns(a).load(), new Columns(b).load()]);
    const host = el("div.twin");
    this.body.append(el("h3", {}, "Each latent coloured by the other run"), host);
    const pairs = [[a, b, first, second], [b, a, second, first]];
    await Promise.all(pairs.map(([one, other, mine, theirs]) => this.#coloured(host, one, other, mine, theirs)));
  }

  async #coloured(host, one, other, mine, theirs) {
    const [x, y] = mine.axes();
    const start = theirs.colour();
    if (!x || !start) return;
    const plot = el("div.plot");
    const legend = el("div.legend");
    const choose = select({ onchange: () => tried(() => draw(choose.value)) }, theirs.colours(), start);
    host.append(el("section.pane", {}, el("header", {}, el("b", {}, this.#name(one)), labelled(`coloured by, of ${this.#name(other)}`, choose)), plot, legend));
    const scatter = new Scatter(plot);
    this.windows.push(scatter);
    const { values: rows } = await array(`api/compare/rows?runs=${one},${other}`, "int32");
    const draw = async (name) => {
      const column = theirs.find(name);
      const [xs, ys, all] = await Promise.all([mine.values(x), mine.values(y), theirs.values(name)]);
      const missing = column.kind === "number" ? NaN : -1;
      const values = Float32Array.from(rows, (row) => (row < 0 ? missing : all[row]));
      const [low, high] = quantiles(values, [0.01, 0.99]);
      const shades = colouring(column, values, { map: mapFor(column, low, high), low, high });
      scatter.draw({ x: xs, y: ys, names: [titled(mine.find(x)), titled(mine.find(y))], equal: mine.alike(x, y), colours: shades });
      drawLegend(legend, column, shades.legend, () => {});
    };
    await draw(start);
    void MAP_NAMES;
  }

  #agreements(found, a, b) {
    if (found.classes?.table?.length) this.body.append(el("h3", {}, `Classes of ${found.embeddings.join(" and of ")}: particles in each two`), this.#table(found.classes, a, b));
    if (!found.regions?.matched?.length) return;
    const region = (number) => [el("i.swatch", { style: { background: categoryColour(number) } }), `region ${number}`];
    const rows = found.regions.matched.map(([one, other, overlap]) => el("tr", {}, el("td", {}, region(one)), el("td", {}, region(other)), el("td", {}, el("meter", { min: 0, max: 1, value: overlap }), ` ${short(overlap)}`)));
    this.body.append(el("h3", {}, "Regions"), el("table", {}, el("thead", {}, el("tr", {}, [this.#name(a), this.#name(b), "Overlap (IoU of Gaussians)"].map((text) => el("th", {}, text)))), el("tbody", {}, rows)));
  }

  /** Volumes of classes that match, with the FSC of each two, and any two of them over each other. */
  #volumes(found, a, b) {
    if (!found.volumes?.matches.length) return;
    const place = el("div.view.matched", { hidden: true });
    const caption = el("p.caption");
    const look = (one, button) =>
      tried(async () => {
        for (const other of table.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
        place.hidden = false;
        await this.#over(place, one.shown);
        fill(caption, [el("i.swatch", { style: { background: COLOURS[0] } }), `${this.#name(a)}, ${one.names[0]} · `, el("i.swatch", { style: { background: COLOURS[1] } }), `${this.#name(b)}, ${one.names[1]}`]);
      });
    const row = (one) => {
      const button = el("button.small", { type: "button", "aria-pressed": "false", disabled: one.shown.includes(null), onclick: () => look(one, button) }, "Show");
      const finest = one.to_the_last_shell ? `${short(one.resolution)} Å, the last shell` : `${short(one.resolution)} Å`;
      const runner = one.runner_up === null ? "none" : short(one.runner_up);
      return el("tr", {}, [one.names[0], one.names[1], finest, short(one.area), runner].map((text) => el("td", {}, text)), el("td", {}, button));
    };
    const heads = [this.#name(a), this.#name(b), "FSC 0.5 at", "Area under the FSC", "Next best", ""];
    const table = el("table", {}, el("thead", {}, el("tr", {}, heads.map((text) => el("th", {}, text)))), el("tbody", {}, found.volumes.matches.map(row)));
    this.body.append(el("h3", {}, `Volumes of ${found.volumes.sets.join(" and of ")}, matched by their FSC`), el("div.scroll", {}, table), place, caption);
  }

  /** Two volumes over each other, each at its own level. */
  async #over(place, shown) {
    const { Viewer } = await import("./viewer.js");
    if (!this.viewer) this.windows.push((this.viewer = new Viewer(place)));
    const { viewer } = this;
    viewer.clear();
    const components = await Promise.all(shown.map((one) => viewer.volume(one.url, one.label)));
    const levels = shown.map((one, i) => one.level ?? components[i].volume.mean + 3 * components[i].volume.rms);
    viewer.surfaces(components.map((component, i) => ({ component, level: levels[i], colour: COLOURS[i], opacity: i ? 0.45 : 1 })));
    place.dataset.shown = shown.map((one) => one.url).join(" ");
  }

  /** How many particles are in each class of both, shaded by the part of the row. */
  #table({ names: [mine, theirs], table }, a, b) {
    const shades = ramp("viridis", 101);
    const cell = (count, total) => {
      const part = total ? count / total : 0;
      return el("td.shaded", { style: { background: shades[Math.round(part * 100)], color: part > 0.55 ? "#111111" : "#ffffff" }, title: `${(part * 100).toFixed(0)} % of the row` }, whole(count));
    };
    const rows = table.map((counts, i) => el("tr", {}, el("th", {}, `class ${mine[i]}`), counts.map((count) => cell(count, counts.reduce((sum, one) => sum + one, 0)))));
    const head = el("tr", {}, el("th", {}, `${this.#name(a)} \\ ${this.#name(b)}`), theirs.map((name) => el("th", {}, `class ${name}`)));
    return el("div.scroll", {}, el("table.cross", {}, el("thead", {}, head), el("tbody", {}, rows)));
  }

  #losses(found) {
    for (const [key, title] of [["loss", "Loss"], ["signal", "Signal explained"]]) {
      const series = found.loss.flatMap((one, i) => (one[key]?.length ? [{ label: found.names[i], x: one.epoch, y: one[key] }] : []));
      if (!series.length) continue;
      const host = el("div.chart.wide");
      this.body.append(el("h3", {}, title), host);
      curves(host, { across: "Epoch", up: title, series, height: 280 });
    }
  }
}
