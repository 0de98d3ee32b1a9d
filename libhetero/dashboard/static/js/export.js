/** A selection under a name, as lists that other programs read, and what can be done with it next. */

import { base64, get, post } from "./api.js";
import { dialog } from "./dialog.js";
import { commandLine, el, fill } from "./dom.js";
import { rowsAre, whole } from "./numbers.js";
import { say, tried } from "./toast.js";

const NEXT = [
  ["train", "Train on these", "A new run of the chosen particles alone, with this run's settings; its regions and classes are then of these."],
  ["reconstruct", "Reconstruct these", "One map, with half-maps and FSC, of the chosen particles."],
  ["segment", "Segment again", "Regions of Gaussians that change together within the chosen particles, and classes of these by each."],
];

/** Ask for a name and write the lists of what is chosen. */
export function saveSelection(app) {
  const { selection, run } = app;
  if (!selection.count) {
    say("Choose particles first.", "fault");
    return;
  }
  const input = el("input", { type: "text", required: true, maxlength: 60, pattern: "[A-Za-z0-9][A-Za-z0-9_.\\-]*", placeholder: "cluster_1", "aria-label": "Name", title: "Letters, digits, _ - and ." });
  const fault = el("p.fault", { role: "alert" });
  const form = el(
    "form",
    {},
    el("p", {}, `${whole(selection.count)} of ${whole(selection.mask.length)} ${rowsAre(run)} of ${run.name}: ${selection.made}.`),
    el("label.labelled", {}, el("span", {}, "Name"), input),
    fault,
    el("div.row.end", {}, el("button.primary", { type: "submit" }, "Save")),
  );
  const { box, close } = dialog("Save the selection", form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = { name: input.value.trim(), rows: base64(selection.rows()), made: selection.made, how: selection.how };
    try {
      const saved = await post(`api/runs/${app.number}/selections`, body);
      close();
      await app.choosing.refresh();
      app.state.set({ sel: saved.name });
      useSelection(app, { made: selection.made, ...saved }, true);
    } catch (wrong) {
      fault.textContent = wrong.message;
    }
  });
  void box;
  input.focus();
}

/** Show the files of a kept selection, how it was made, and what to do with it. */
export async function useSelection(app, kept, fresh = false) {
  const path = `api/runs/${app.number}/file?path=${encodeURIComponent(`selections/${kept.name}/selection.json`)}`;
  const one = kept.files ? kept : { ...kept, ...(await tried(() => get(path))) };
  const where = (file) => {
    const said = typeof file === "string" ? file : (file.path ?? file.url);
    const path = said.includes("/") ? said : `selections/${one.name}/${said}`;
    const name = decodeURIComponent(path).split("/").pop().replace(/[?&].*$/, "");
    const url = said.startsWith("/api/") ? said : `api/runs/${app.number}/file?path=${encodeURIComponent(path)}&save=1`;
    return el("li", {}, el("a", { href: url, download: name }, name), el("span.faint", {}, (name === `${one.name}_particles.txt` ? "names of the particles" : KINDS[name.split(".").pop()]) ?? ""));
  };
  const place = el("div");
  const offered = NEXT.filter(([kind]) => kind !== "segment" || app.run.family === "gmm");
  const actions = offered.map(([kind, label, what]) =>
    el("button", { type: "button", title: what, onclick: () => tried(() => showCommand(app, place, { kind, run: app.number, selection: one.name }, what)) }, label),
  );
  const content = el(
    "div.stack",
    {},
    el("p", {}, `${whole(one.count)} ${rowsAre(app.run)}${one.made ? `: ${one.made}` : ""}.`),
    one.files?.length ? el("ul.files", {}, one.files.map(where)) : null,
    one.command ? [el("h3", {}, "The same again from a terminal"), commandLine(one.command)] : null,
    el("h3", {}, "Go on with these"),
    el("div.row", {}, actions),
    place,
  );
  dialog(fresh ? `Saved: ${one.name}` : `Selection ${one.name}`, content, { wide: true });
}

const KINDS = { lst: "EMAN2, and every program here", star: "RELION", cs: "cryoSPARC", txt: "row numbers", json: "how it was made" };

/** Show a command, and run it on demand. */
export async function showCommand(app, place, body, what) {
  const { command } = await post("api/commands", body);
  const run = el("button.primary", { type: "button", disabled: app.session.readonly, title: app.session.readonly ? "The server is read-only." : "" }, "Run it here");
  run.addEventListener("click", () =>
    tried(async () => {
      run.disabled = true;
      const { number, over } = await app.jobs.run("api/jobs", body);
      fill(place, el("p", {}, "It runs as job ", el("b", {}, number), ". ", el("a", { href: "#tab=jobs", onclick: () => document.querySelector("dialog[open]")?.close() }, "See its log")));
      over.then(
        () => app.refresh().then(() => say(`Job ${number} is done.`)),
        (wrong) => say(`Job ${number}: ${wrong.message}`, "fault"),
      );
    }),
  );
  fill(place, el("p.hint", {}, what), commandLine(command), el("div.row.end", {}, run));
}
