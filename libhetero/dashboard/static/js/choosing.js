/** The panel of what is chosen: by class, threshold, index file; combined, kept under a name, and used. */

import { array, postBytes, unbase64 } from "./api.js";
import { el, fill, labelled, select } from "./dom.js";
import { saveSelection, useSelection } from "./export.js";
import { howOfClass } from "./latent.js";
import { inRange, ofClass, ofRows } from "./masks.js";
import { rowsAre, short, whole } from "./numbers.js";
import { MODE_NAMES } from "./selection.js";
import { say, tried } from "./toast.js";

export class Choosing {
  constructor(app, panel) {
    Object.assign(this, { app, panel });
  }

  /** Take another run. */
  load() {
    const { app } = this;
    this.count = el("output.count", { "aria-live": "polite" });
    this.made = el("p.made");
    this.kept = el("ul.kept");
    app.selection.addEventListener("change", () => this.#changed());
    fill(
      this.panel,
      el("h2", {}, "Selection"),
      this.count,
      this.made,
      this.#modes(),
      this.#operations(),
      el("details", {}, el("summary", {}, "By class"), this.#byClass()),
      el("details", {}, el("summary", {}, "By threshold"), this.#byThreshold()),
      el("details", {}, el("summary", {}, "By index file"), this.#byFile()),
      this.#keeping(),
      el("h3", {}, "Kept selections"),
      this.kept,
    );
    this.#changed();
    this.showKept();
  }

  #changed() {
    const { selection, run, session } = this.app;
    const total = selection.mask.length;
    const part = total ? (100 * selection.count) / total : 0;
    fill(this.count, el("b", {}, whole(selection.count)), ` of ${whole(total)} ${rowsAre(run)} (${part < 10 ? part.toFixed(1) : part.toFixed(0)} %)`);
    this.count.dataset.count = selection.count;
    this.made.textContent = selection.made || "Nothing is chosen.";
    this.made.title = selection.made;
    const locked = session.readonly ? "The server is read-only." : null;
    for (const button of this.panel.querySelectorAll("[data-needs=some]")) {
      button.disabled = !selection.count || Boolean(locked);
      button.title = locked ?? (selection.count ? "" : "Choose particles first.");
    }
  }

  #modes() {
    const { selection } = this.app;
    const one = ([mode, label]) =>
      el("label", {}, el("input", { type: "radio", name: "mode", value: mode, checked: selection.mode === mode, onchange: () => (selection.mode = mode) }), el("span", {}, label));
    return el("fieldset.modes", {}, el("legend", {}, "The next choice will"), Object.entries(MODE_NAMES).map(one));
  }

  #operations() {
    const { selection } = this.app;
    const button = (label, title, run) => el("button.small", { type: "button", title, onclick: run }, label);
    return el(
      "div.row",
      {},
      button("Invert", "Choose those that are not chosen (I)", () => selection.invert()),
      button("Clear", "Choose none (Esc)", () => selection.clear()),
      button("Undo", "Undo the last choice (Ctrl Z)", () => selection.undo()),
      button("Redo", "Redo it (Ctrl Y)", () => selection.redo()),
    );
  }

  #byClass() {
    const { columns, selection } = this.app;
    const classes = columns.classes();
    if (!classes.length) return el("p.hint", {}, "The run has no classes yet: e2hype_embed.py or e2hype_segment.py makes them.");
    const which = select({ "aria-label": "Classes of" }, classes.map((column) => [column.name, column.label]));
    const number = el("select", { "aria-label": "Class" });
    const offer = async () => {
      const column = columns.find(which.value);
      const values = await columns.values(which.value);
      const counts = new Map();
      for (const value of values) if (value >= 0) counts.set(value, (counts.get(value) ?? 0) + 1);
      const found = [...counts.keys()].sort((a, b) => a - b);
      fill(number, found.map((one) => el("option", { value: one }, `${column.categories?.[one] ?? `class ${one}`} (${whole(counts.get(one))})`)));
    };
    which.addEventListener("change", () => tried(offer));
    const choose = async () => {
      if (!number.options.length) await offer();
      const column = columns.find(which.value);
      const value = Number(number.value);
      const values = await columns.values(which.value);
      selection.choose(ofClass(values, value), howOfClass(column, value), `${column.categories?.[value] ?? `class ${value}`} of ${column.label}`);
    };
    tried(offer);
    return el("div.stack", {}, classes.length > 1 && which, el("div.pair", {}, number, el("button", { type: "button", onclick: () => tried(choose) }, "Choose")));
  }

  #byThreshold() {
    const { columns, selection } = this.app;
    const which = select({ "aria-label": "Column" }, columns.numbers());
    const low = el("input", { type: "number", step: "any", "aria-label": "From" });
    const high = el("input", { type: "number", step: "any", "aria-label": "To" });
    const unit = el("span.faint");
    const offer = () => {
      const column = columns.find(which.value);
      low.placeholder = short(column?.minimum);
      high.placeholder = short(column?.maximum);
      unit.textContent = column?.unit ?? "";
    };
    which.addEventListener("change", offer);
    const choose = async () => {
      const from = Number.isNaN(low.valueAsNumber) ? null : low.valueAsNumber;
      const to = Number.isNaN(high.valueAsNumber) ? null : high.valueAsNumber;
      if (from === null && to === null) {
        say("State the lowest value, the highest, or both.", "fault");
        return;
      }
      const values = await columns.values(which.value);
      const how = { column: which.value, ...(from === null ? {} : { from }), ...(to === null ? {} : { to }) };
      const words = [from === null ? null : `at least ${short(from)}`, to === null ? null : `at most ${short(to)}`].filter(Boolean).join(" and ");
      selection.choose(inRange(values, from ?? -Infinity, to ?? Infinity), how, `${columns.find(which.value).label} ${words}`);
    };
    offer();
    const button = el("button", { type: "button", onclick: () => tried(choose) }, "Choose");
    return el("div.stack", {}, which, el("div.pair", {}, low, el("span", {}, "to"), high, unit), button);
  }

  #byFile() {
    const { app } = this;
    const read = async (event) => {
      const [file] = event.target.files;
      if (!file) return;
      const found = await postBytes(`api/runs/${app.number}/selections/import?file=${encodeURIComponent(file.name)}`, await file.arrayBuffer());
      const rows = unbase64(found.rows);
      app.selection.choose(ofRows(rows, app.selection.mask.length), found.how ?? { rows: [...rows] }, `the particles of ${file.name}`);
      event.target.value = "";
    };
    const input = el("input", { type: "file", accept: ".txt,.npy", onchange: (event) => tried(() => read(event)) });
    return labelled("Rows, counted from 0, in .txt or .npy", input);
  }

  #keeping() {
    const { app } = this;
    const save = el("button.primary", { type: "button", "data-needs": "some", onclick: () => saveSelection(app) }, "Save …");
    return el("div.row.save", {}, save, el("button", { type: "button", "data-needs": "some", onclick: () => tried(() => app.volumes.decoding.middle()) }, "Volume"), el("span.hint", {}, ".lst, .star, .cs on the original particles"));
  }

  /** List what is kept in the run. */
  showKept() {
    const { app } = this;
    const kept = app.run.selections ?? [];
    if (!kept.length) {
      fill(this.kept, el("li.hint", {}, "None yet."));
      return;
    }
    const line = (one) =>
      el(
        "li",
        {},
        el("button.plain.name", { type: "button", title: one.made, onclick: () => tried(() => this.choose(one)) }, el("b", {}, one.name), el("small", {}, whole(one.count))),
        el("button.small", { type: "button", onclick: () => useSelection(app, one) }, "Use …"),
      );
    fill(this.kept, kept.map(line));
  }

  /** Choose a kept selection. */
  async choose(one) {
    const { app } = this;
    const { values } = await array(`api/runs/${app.number}/selections/${encodeURIComponent(one.name)}/rows`, "uint32");
    app.selection.choose(ofRows(values, app.selection.mask.length), { selection: one.name }, `the selection ${one.name}`);
    app.state.set({ sel: one.name });
  }

  /** Ask the server again what is kept. */
  async refresh() {
    await this.app.refresh();
    this.showKept();
  }
}
