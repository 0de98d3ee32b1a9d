/** Regions that are edited by hand: every edit is kept, can be undone, and is said in the file that is saved. */

/** Labels of Gaussians and names of regions; label 0 is what does not change. */
export class Editing extends EventTarget {
  constructor(labels, names) {
    super();
    this.labels = Int32Array.from(labels);
    this.names = { ...names };
    this.edits = [];
    this.past = [];
  }

  /** Regions that have Gaussians, by number, and how many. */
  sizes() {
    const sizes = new Map();
    for (const label of this.labels) sizes.set(label, (sizes.get(label) ?? 0) + 1);
    return new Map([...sizes].sort((a, b) => a[0] - b[0]));
  }

  /** The lowest number above 0 that no region has. */
  free() {
    const used = this.sizes();
    let number = 1;
    while (used.has(number)) number += 1;
    return number;
  }

  name(number) {
    return this.names[number] ?? (number <= 0 ? "constant" : `region ${number}`);
  }

  /** Give the Gaussians of a mask to a region. */
  assign(mask, number) {
    const count = mask.reduce((sum, one) => sum + one, 0);
    if (!count) return;
    this.#edit(`${count} Gaussians to ${this.name(number)}`, () => {
      for (let i = 0; i < mask.length; i += 1) if (mask[i]) this.labels[i] = number;
    });
  }

  /** Make a region of the Gaussians of a mask; returns its number. */
  split(mask) {
    const number = this.free();
    this.#edit(`${mask.reduce((sum, one) => sum + one, 0)} Gaussians become region ${number}`, () => {
      for (let i = 0; i < mask.length; i += 1) if (mask[i]) this.labels[i] = number;
      delete this.names[number];
    });
    return number;
  }

  /** Join regions into the lowest of them. */
  merge(numbers) {
    const [first, ...others] = [...numbers].sort((a, b) => a - b);
    this.#edit(`${[first, ...others].map((one) => this.name(one)).join(" and ")} are one`, () => {
      for (let i = 0; i < this.labels.length; i += 1) if (others.includes(this.labels[i])) this.labels[i] = first;
    });
    return first;
  }

  /** Say that regions do not change. */
  constant(numbers) {
    this.#edit(`${numbers.map((one) => this.name(one)).join(" and ")} do not change`, () => {
      for (let i = 0; i < this.labels.length; i += 1) if (numbers.includes(this.labels[i])) this.labels[i] = 0;
    });
  }

  /** Give a region a name. */
  rename(number, name) {
    this.#edit(`${this.name(number)} is called ${name}`, () => (this.names[number] = name));
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    this.edits.pop();
    Object.assign(this, before);
    this.dispatchEvent(new Event("change"));
  }

  #edit(words, change) {
    this.past.push({ labels: this.labels.slice(), names: { ...this.names } });
    change();
    this.edits.push(words);
    this.dispatchEvent(new Event("change"));
  }
}
