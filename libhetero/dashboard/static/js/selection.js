/** The chosen particles of a run, how they were chosen, and the way back. */

import { counted, rowsOf } from "./masks.js";

const DEPTH = 20;

/** How two recipes combine: what the server repeats (`how`), and what people read (`made`). */
const MODES = {
  replace: { join: (_, one) => one, how: (_, one) => one, made: (_, one) => one },
  add: { join: (a, b) => a | b, how: (a, b) => joined("or", a, b), made: (a, b) => `${a}, or ${b}` },
  subtract: { join: (a, b) => a & (b ^ 1), how: (a, b) => joined("minus", a, b), made: (a, b) => `${a}, without ${b}` },
  intersect: { join: (a, b) => a & b, how: (a, b) => joined("and", a, b), made: (a, b) => `${a}, and of these ${b}` },
};

/** One flat list where the same word joins again: recipes stay shallow. */
function joined(word, a, b) {
  return { [word]: [...(a[word] ?? [a]), b] };
}

export const MODE_NAMES = { replace: "Replace", add: "Add", subtract: "Subtract", intersect: "Intersect" };

/** Dispatches "change" whenever particles are chosen otherwise. */
export class Selection extends EventTarget {
  constructor(count) {
    super();
    this.mask = new Uint8Array(count);
    this.count = 0;
    this.how = null;
    this.made = "";
    this.mode = "replace";
    this.past = [];
    this.future = [];
  }

  /** Choose by a mask; `how` and `made` say it, and `mode` what becomes of those chosen before. */
  choose(mask, how, made, mode = this.mode) {
    const first = this.how === null;
    if (first && (mode === "subtract" || mode === "intersect")) return;
    const { join, how: both, made: words } = MODES[mode];
    const next = new Uint8Array(mask.length);
    for (let i = 0; i < mask.length; i += 1) next[i] = join(this.mask[i], mask[i]);
    this.#become(next, first ? how : both(this.how, how), first ? made : words(this.made, made));
  }

  /** Choose those that are not chosen. */
  invert() {
    if (this.how === null) return;
    const next = this.mask.map((one) => one ^ 1);
    this.#become(next, { not: this.how }, `all but (${this.made})`);
  }

  /** Choose none. */
  clear() {
    if (this.count || this.how) this.#become(new Uint8Array(this.mask.length), null, "");
  }

  undo() {
    this.#step(this.past, this.future);
  }

  redo() {
    this.#step(this.future, this.past);
  }

  /** The rows that are chosen, in order. */
  rows() {
    return rowsOf(this.mask);
  }

  #become(mask, how, made) {
    this.past.push(this.#kept());
    if (this.past.length > DEPTH) this.past.shift();
    this.future = [];
    this.#take({ mask, how, made });
  }

  #kept() {
    return { mask: this.mask, how: this.how, made: this.made };
  }

  #step(from, to) {
    if (!from.length) return;
    to.push(this.#kept());
    this.#take(from.pop());
  }

  #take({ mask, how, made }) {
    Object.assign(this, { mask, how, made, count: counted(mask) });
    this.dispatchEvent(new Event("change"));
  }
}
