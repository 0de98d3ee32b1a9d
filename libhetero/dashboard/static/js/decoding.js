/** What volumes are asked for: particles clicked, a class, a path through the latent. */

import { howOfClass } from "./latent.js";
import { el, fill, labelled, select } from "./dom.js";
import { whole } from "./numbers.js";
import { say, tried } from "./toast.js";

/** A class as the server names it. */
function classOf(column, number) {
  const { of, region } = howOfClass(column, number);
  return region ? { segmentation: of, region, number } : { embedding: of ?? column.name, number };
}

const MOST = 16; // particles decoded by one request

export class Decoding {
  constructor(app, panel, ondone) {
    Object.assign(this, { app, panel, ondone });
    this.rows = [];
    app.addEventListener("pick", ({ detail }) => app.state.get("tab") === "volumes" && this.#picked(detail));
    app.addEventListener("path", ({ detail }) => this.#pathed(detail.points));
  }

  /** Take another run. */
  load() {
    this.rows = [];
    this.picked = el("div.picked");
    this.over = el("input", { type: "checkbox" });
    this.steps = el("input", { type: "number", min: 2, max: 60, value: 12, "aria-label": "Volumes along the path" });
    this.pathNote = el("p.hint");
    this.progress = el("div.progress", { hidden: true });
    const locked = this.app.session.readonly;
    const button = (label, run, title) => el("button", { type: "button", disabled: locked, title: locked ? "The server is read-only." : title, onclick: () => tried(run) }, label);
    fill(
      this.panel,
      el("h2", {}, "Make volumes"),
      el("h3", {}, "Of particles"),
      this.picked,
      el("div.row", {}, button("Decode", () => this.particles(), "Volumes of the particles clicked (V)"), el("button.small", { type: "button", onclick: () => this.#take([]) }, "Clear")),
      el("h3", {}, "Of a class"),
      this.#classes(button),
      el("h3", {}, "Along a path"),
      this.pathNote,
      el("div.row", {}, labelled("Steps", this.steps), el("label.tick", { title: "Over near particles from corner to corner, where there are some, rather than straight" }, this.over, "over particles"), button("Decode the path", () => this.path(), "Volumes along the path"), el("button.small", { type: "button", onclick: () => this.#clearPath() }, "Clear")),
      this.progress,
    );
    this.#take([]);
    this.#pathed([]);
  }

  #classes(button) {
    const { columns } = this.app;
    const classes = columns.classes().filter((column) => column.group === "class");
    if (!classes.length) return el("p.hint", {}, "The run has no classes yet.");
    const which = select({ "aria-label": "Classes of" }, classes.map((column) => [column.name, column.label]));
    const number = el("select", { "aria-label": "Class" });
    const offer = async () => {
      const column = columns.find(which.value);
      const values = await columns.values(which.value);
      const found = [...new Set(values)].filter((one) => one >= 0).sort((a, b) => a - b);
      fill(number, found.map((one) => el("option", { value: one }, column.categories?.[one] ?? `class ${one}`)));
    };
    which.addEventListener("change", () => tried(offer));
    tried(offer);
    const decode = () => this.#ask({ class: classOf(columns.find(which.value), Number(number.value)) });
    const all = () => {
      const { number: _, ...of } = classOf(columns.find(which.value), 0);
      return this.#ask({ class: of });
    };
    return [classes.length > 1 ? which : null, el("div.pair", {}, number, button("Decode", decode, "The volume of the class"), button("All", all, "A volume of each class"))];
  }

  #picked({ row }) {
    if (row === null) return;
    const rows = this.rows.includes(row) ? this.rows.filter((one) => one !== row) : [...this.rows, row];
    if (rows.length > MOST) say(`At most ${MOST} particles at once.`, "fault");
    else this.#take(rows);
  }

  async #take(rows) {
    this.rows = rows;
    const { latent, columns } = this.app;
    const chip = (row, i) => el("button.small", { type: "button", title: "Leave it out", onclick: () => this.#take(rows.filter((one) => one !== row)) }, `${i + 1}: ${whole(row)} ×`);
    fill(this.picked, rows.length ? rows.map(chip) : el("p.hint", {}, "Click particles in the scatter."));
    if (!latent.scatter?.x) return;
    const [x, y] = await Promise.all([columns.values(latent.x), columns.values(latent.y)]);
    latent.scatter.mark(rows.map((row, i) => ({ x: x[row], y: y[row], label: String(i + 1) })));
  }

  #pathed(points) {
    this.corners = points;
    this.pathNote.textContent = points.length ? `${points.length} corner${points.length > 1 ? "s" : ""}; each becomes the latent of the particle nearest to it.` : "Take the tool Path (T) and click its corners in the scatter.";
  }

  #clearPath() {
    this.app.latent.scatter?.setPath([]);
    this.#pathed([]);
  }

  /** Volumes of the particles clicked. */
  async particles() {
    if (!this.rows.length) {
      say("Click particles in the scatter first.", "fault");
      return;
    }
    await this.#ask({ rows: this.rows });
  }

  /** Volumes along the path. */
  async path() {
    if (this.corners.length < 2) {
      say("A path has at least two corners: take the tool Path and click them.", "fault");
      return;
    }
    const steps = this.steps.valueAsNumber || 12;
    if (this.over.checked) {
      const rows = [...new Set(await Promise.all(this.corners.map((corner) => this.#particleAt(corner))))];
      await this.#ask({ path: { rows, steps } });
      return;
    }
    const points = await Promise.all(this.corners.map((corner) => this.#latentAt(corner)));
    await this.#ask({ path: { points, steps } });
  }

  /** The latent of a place: itself where the axes are the whole latent, else of the particle nearest to it. */
  async #latentAt([a, b]) {
    const { latent, columns, run } = this.app;
    if (run.latent === 2 && latent.x === "z1" && latent.y === "z2") return [a, b];
    const best = await this.#particleAt([a, b]);
    const names = Array.from({ length: run.latent }, (_, i) => `z${i + 1}`);
    const values = await Promise.all(names.map((name) => columns.values(name)));
    return values.map((one) => one[best]);
  }

  /** The particle nearest to a place of the scatter. */
  async #particleAt([a, b]) {
    const { latent, columns } = this.app;
    const [x, y] = await Promise.all([columns.values(latent.x), columns.values(latent.y)]);
    let best = 0;
    let least = Infinity;
    for (let i = 0; i < x.length; i += 1) {
      const far = ((x[i] - a) / latent.scatter.half[0]) ** 2 + ((y[i] - b) / latent.scatter.half[1]) ** 2;
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  /** The volume of the chosen particle that is nearest to the mean latent of all that are chosen. */
  async middle() {
    const { selection, columns, run } = this.app;
    const rows = selection.rows();
    const names = Array.from({ length: run.latent }, (_, i) => `z${i + 1}`);
    const values = await Promise.all(names.map((name) => columns.values(name)));
    const mean = values.map((one) => rows.reduce((sum, row) => sum + one[row], 0) / rows.length);
    let best = rows[0];
    let least = Infinity;
    for (const row of rows) {
      const far = values.reduce((sum, one, axis) => sum + (one[row] - mean[axis]) ** 2, 0);
      if (far < least) [best, least] = [row, far];
    }
    this.app.state.set({ tab: "volumes" });
    await this.#take([best]);
    await this.#ask({ rows: [best] });
  }

  async #ask(body) {
    const { app } = this;
    const { number, over } = await app.jobs.run(`api/runs/${app.number}/volumes`, body);
    const cancel = el("button.small", { type: "button", onclick: () => tried(() => app.jobs.cancel(number)) }, "Cancel");
    const bar = el("progress", { max: 1 });
    const words = el("span", {}, "Waiting …");
    fill(this.progress, bar, words, cancel);
    this.progress.hidden = false;
    const hear = ({ detail: job }) => {
      if (String(job.job) !== number) return;
      if (job.progress > 0) bar.value = job.progress;
      words.textContent = job.message || (job.state === "queued" ? "Waiting …" : "Decoding …");
    };
    app.jobs.addEventListener("change", hear);
    try {
      const job = await over;
      await this.ondone(job.result);
    } finally {
      app.jobs.removeEventListener("change", hear);
      this.progress.hidden = true;
    }
  }
}
