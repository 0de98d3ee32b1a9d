/** A run as it trains, or as it trained: curves, samples, and the last lines of its log. */

import { follow, get } from "./api.js";
import { curves } from "./charts.js";
import { debounced, el, empty, fill } from "./dom.js";
import { duration, short, whole } from "./numbers.js";
import { tried } from "./toast.js";

const TITLES = {
  loss: "Loss", signal: "Signal explained", misfit: "Misfit", penalty: "Penalty", skipped: "Particles skipped", epoch_signal: "Signal explained, mean of the epoch", gradient_norm: "Norm of the gradient", learning_rate: "Learning rate",
  particles_per_second: "Particles a second", memory_bytes: "Memory", epoch_loss: "Loss, mean of the epoch", held_out_loss: "Loss of held-out particles",
};
const ORDER = ["loss", "signal", "gradient_norm", "learning_rate", "particles_per_second"];
const LEFT_OUT = new Set(["step", "epoch", "seconds_left", "first_step_seconds", "seconds", "time"]);
const STATES = { training: "training now", stopped: "stopped before its end", finished: "finished", empty: "not begun", elsewhere: "on another machine" };

export class Training {
  constructor(app, host) {
    Object.assign(this, { app, host });
    this.charts = new Map();
    this.redraw = debounced(() => this.#draw(), 150);
  }

  /** Take another run. */
  load() {
    this.leave();
    this.lines = [];
    if (this.app.state.get("tab") === "training") this.show();
  }

  leave() {
    this.stop?.();
    this.stop = null;
    for (const chart of this.charts.values()) chart.destroy();
    this.charts.clear();
    this.built = false;
  }

  async show() {
    if (this.built) return;
    this.built = true;
    const { number, run } = this.app;
    this.head = el("div.facts");
    this.grid = el("div.charts");
    this.picture = el("div.samples");
    this.log = el("pre.log", { tabindex: 0, "aria-label": "Last lines of the log" });
    this.link = el("span.chip");
    fill(this.host, el("div.sheet", {}, el("header.row", {}, el("h2", {}, "Training"), this.link), this.head, this.grid, this.picture, el("details", {}, el("summary", {}, "Last lines of log.jsonl"), this.log)));
    let since = 0;
    await tried(async () => {
      const lines = await get(`api/runs/${number}/log?since=0`);
      if (number !== this.app.number) return;
      this.lines = lines.lines;
      since = lines.next;
      this.#draw();
    });
    this.#samples();
    const onstate = (state) => this.#linked(state);
    this.stop = follow(`api/runs/${number}/events?since=${since}`, {
      log: (line) => this.#heard(line),
      state: (state) => this.#state(state),
      samples: () => this.#samples(),
      restart: () => (this.lines = []),
    }, onstate);
    void run;
  }

  #heard(line) {
    const entry = typeof line === "string" ? JSON.parse(line) : line;
    this.lines.push(entry);
    this.redraw();
  }

  #state(said) {
    const state = said?.state ?? said;
    Object.assign(this.app.run, { state, holder: said?.holder, written: said?.written });
    if (said?.epoch !== undefined) this.app.run.epoch = said.epoch;
    this.app.dispatchEvent(new Event("runstate"));
    this.redraw();
  }

  #linked(state) {
    const live = state === "open" && this.app.run.state === "training";
    this.link.textContent = state === "lost" ? "connection lost; trying again" : live ? "live" : (STATES[this.app.run.state] ?? "");
    this.link.className = `chip ${state === "lost" ? "failed" : live ? "running" : ""}`;
  }

  #draw() {
    const { run } = this.app;
    this.#linked("open");
    if (!this.lines.length) {
      fill(this.head, empty("Nothing reported yet", "The first line comes after the first step, which compiles the model: a minute or two."));
      return;
    }
    const last = this.lines.at(-1);
    const fact = (label, value) => el("div", {}, el("small", {}, label), el("b", {}, value));
    fill(
      this.head,
      fact("State", STATES[run.state] ?? run.state),
      run.state === "elsewhere" ? fact("Locked by", `${run.holder}; whether it still trains cannot be seen from here`) : null,
      run.state === "elsewhere" && run.written ? fact("Last line", `${duration(Math.max(Date.now() / 1000 - run.written, 0))} ago`) : null,
      fact("Epoch", `${short(last.epoch)}${run.epochs ? ` of ${run.epochs}` : ""}`),
      fact("Step", whole(last.step ?? 0)),
      fact("Loss", short(last.loss)),
      run.state === "training" && last.seconds_left ? fact("Time left", duration(last.seconds_left)) : null,
      last.particles_per_second ? fact("Speed", `${short(last.particles_per_second)} particles/s`) : null,
      last.memory_bytes ? fact("Memory", `${short(last.memory_bytes / 1e9)} GB`) : null,
    );
    const names = [...new Set(this.lines.flatMap((line) => Object.keys(line)))].filter((name) => !LEFT_OUT.has(name) && this.lines.some((line) => typeof line[name] === "number"));
    const plain = names.filter((name) => !/_change$/.test(name) && name !== "memory_bytes");
    plain.sort((a, b) => rank(a) - rank(b));
    for (const name of plain) this.#chart(name);
    this.log.textContent = this.lines.slice(-60).map((line) => JSON.stringify(line)).join("\n");
  }

  #chart(name) {
    const found = this.lines.filter((line) => typeof line[name] === "number");
    const x = found.map((line) => line.epoch ?? line.step);
    const y = found.map((line) => line[name]);
    const there = this.charts.get(name);
    if (there) {
      there.plot.setData([x, y]);
      return;
    }
    if (found.length < 2 && this.charts.size > 5) return;
    const host = el("div.chart");
    this.grid.append(host);
    this.charts.set(name, curves(host, { title: TITLES[name] ?? name.replace(/_/g, " "), across: "Epoch", up: UNITS[name] ?? "", series: [{ label: name, x, y }] }));
  }

  #samples() {
    const { number } = this.app;
    const image = new Image();
    image.alt = "Samples: images, projections and slices of the model as it is";
    image.onload = () => fill(this.picture, el("h3", {}, "Samples"), image);
    image.onerror = () => this.picture.firstChild || fill(this.picture);
    image.src = `api/runs/${number}/file?path=samples.png&at=${Date.now()}`;
  }
}

const UNITS = { particles_per_second: "1/s", signal: "fraction", learning_rate: "", loss: "" };

function rank(name) {
  const place = ORDER.indexOf(name);
  return place < 0 ? ORDER.length : place;
}
