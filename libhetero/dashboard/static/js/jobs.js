/** Jobs of the server: what runs, how far it is, its log; and the tab that shows them. */

import { follow, get, post, remove } from "./api.js";
import { commandLine, el, empty, fill } from "./dom.js";
import { showCommand } from "./export.js";
import { say, tried } from "./toast.js";

const STATES = { queued: "waiting", running: "running", done: "done", failed: "failed", cancelled: "cancelled" };

/** Dispatches "change" at every word of the server, and knows when a job is over. */
export class Jobs extends EventTarget {
  constructor() {
    super();
    this.list = new Map();
    this.waiting = new Map();
  }

  async start() {
    for (const job of await get("api/jobs")) this.#take(job);
    const hear = (job) => this.#take(job);
    this.stop = follow("api/events", { job: hear, message: hear, jobs: (list) => list.forEach(hear) });
    setInterval(() => this.#poll(), 2000);
  }

  async #poll() {
    if (![...this.list.values()].some(active)) return;
    try {
      for (const job of await get("api/jobs")) this.#take(job);
    } catch {
      // the next word of the server tells
    }
  }

  #take(job) {
    if (!job || job.job === undefined) return;
    const before = this.list.get(String(job.job));
    this.list.set(String(job.job), { ...before, ...job });
    const waiting = this.waiting.get(String(job.job));
    if (waiting && !active(job)) {
      this.waiting.delete(String(job.job));
      if (job.state === "done") get(`api/jobs/${job.job}`).then(waiting.resolve, waiting.reject);
      else waiting.reject(new Error(job.state === "cancelled" ? "Cancelled." : (job.message ?? "The job failed; its log says why.")));
    }
    this.dispatchEvent(new CustomEvent("change", { detail: job }));
  }

  /** Ask for a job and wait until it is over; returns what it says then, with `result`. */
  async run(path, body) {
    const job = await post(path, body);
    const number = String(job.job);
    const over = new Promise((resolve, reject) => this.waiting.set(number, { resolve, reject }));
    this.#take({ state: "queued", progress: 0, title: body.name ?? body.kind ?? "volumes", ...job });
    this.#take(await get(`api/jobs/${number}`));
    return { number, over };
  }

  cancel(number) {
    return remove(`api/jobs/${number}`);
  }

  active() {
    return [...this.list.values()].filter(active);
  }
}

function active(job) {
  return job.state === "queued" || job.state === "running";
}

const OF_THE_RUN = [
  ["embed", "Embed", "A plane of all particles, and their classes."],
  ["segment", "Segment", "Regions of Gaussians that change together, and classes of particles by each."],
  ["analyze", "Analyze", "Plane, classes, states of the latents' density, volumes of all these, and a page."],
  ["validate", "Validate", "Whether what the run found is there: half-sets and null sets. Trains again; takes long."],
  ["resume", "Train on", "Goes on with the training."],
];

/** The tab of all jobs. */
export class JobsTab {
  constructor(app, host) {
    Object.assign(this, { app, host });
    this.cards = new Map();
    app.jobs.addEventListener("change", () => app.state.get("tab") === "jobs" && this.show());
  }

  show() {
    if (!this.sheet?.isConnected) this.#build();
    const jobs = [...this.app.jobs.list.values()].sort((a, b) => Number(b.job) - Number(a.job) || String(b.job).localeCompare(String(a.job)));
    this.none.hidden = jobs.length > 0;
    for (const job of jobs.slice().reverse()) {
      const key = String(job.job);
      if (!this.cards.has(key)) {
        const card = new JobCard(this.app, key);
        this.cards.set(key, card);
        this.list.prepend(card.node);
      }
      this.cards.get(key).update(job);
    }
  }

  #build() {
    this.list = el("div.stack");
    this.none = empty("Nothing has run yet", "Volumes that are decoded, and commands started from this page, are listed here with their progress and log.");
    const place = el("div.stack");
    const gmm = this.app.run.family === "gmm";
    const buttons = OF_THE_RUN.filter(([kind]) => gmm || kind !== "segment").map(([kind, label, what]) =>
      el("button", { type: "button", title: what, onclick: () => tried(() => showCommand(this.app, place, { kind, run: this.app.number }, what)) }, label),
    );
    this.sheet = el("div.sheet", {}, el("h2", {}, `Of ${this.app.run.name}`), el("div.row", {}, buttons), place, el("h2", {}, "Jobs"), this.none, this.list);
    this.cards.clear();
    fill(this.host, this.sheet);
  }

  /** Another run: other commands. */
  load() {
    this.sheet = null;
    if (this.app.state.get("tab") === "jobs") this.show();
  }
}

class JobCard {
  constructor(app, number) {
    Object.assign(this, { app, number });
    this.lines = 0;
    this.title = el("b");
    this.state = el("span.chip");
    this.bar = el("progress", { max: 1, value: 0 });
    this.message = el("p.message");
    this.stop = el("button.small", { type: "button", onclick: () => tried(() => app.jobs.cancel(number)) }, "Cancel");
    this.command = el("div");
    this.log = el("pre.log", { tabindex: 0 });
    this.details = el("details", { ontoggle: () => this.details.open && this.#read() }, el("summary", {}, "Log"), this.log);
    this.node = el("article.job", {}, el("header", {}, this.title, this.state, el("span.space"), this.stop), this.bar, this.message, this.command, this.details);
  }

  update(job) {
    this.title.textContent = `${job.job}. ${job.title ?? job.kind}`;
    this.state.textContent = STATES[job.state] ?? job.state;
    this.state.className = `chip ${job.state}`;
    this.bar.hidden = !active(job);
    if (job.progress > 0) this.bar.value = job.progress;
    else this.bar.removeAttribute("value");
    this.message.textContent = job.message ?? "";
    this.stop.hidden = !active(job) || this.app.session.readonly;
    if (job.command && !this.command.firstChild) this.command.append(commandLine(job.command));
    if (this.details.open) this.#read();
  }

  async #read() {
    if (this.reading) return;
    this.reading = true;
    try {
      const more = await get(`api/jobs/${this.number}/log?since=${this.lines}`);
      const lines = Array.isArray(more) ? more : (more.lines ?? []);
      this.lines = more.next ?? this.lines + lines.length; // a long log has forgotten its first lines
      const atEnd = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 20;
      if (lines.length) this.log.append(`${lines.join("\n")}\n`);
      if (atEnd) this.log.scrollTop = this.log.scrollHeight;
    } catch (fault) {
      say(fault.message, "fault");
      this.details.open = false;
    } finally {
      this.reading = false;
    }
  }
}
