/** What the page shows, kept in the address behind the #, so that a link leads to the same view. */

/** Values that an address leaves out. */
const DEFAULTS = { tab: "latent", run: "0" };

/** Dispatches "change" with the names that changed. */
export class State extends EventTarget {
  constructor() {
    super();
    this.values = { ...DEFAULTS, ...read() };
    window.addEventListener("hashchange", () => this.#addressed());
  }

  get(name) {
    return this.values[name];
  }

  /** Set several; null removes one. A new tab or run is a step of the browser's history, the rest is not. */
  set(changes) {
    const changed = Object.keys(changes).filter((name) => (changes[name] ?? undefined) !== this.values[name]);
    if (!changed.length) return;
    for (const name of changed) {
      if (changes[name] === null || changes[name] === undefined) delete this.values[name];
      else this.values[name] = String(changes[name]);
    }
    const address = `#${written(this.values)}`;
    if (changed.includes("tab") || changed.includes("run")) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    this.dispatchEvent(new CustomEvent("change", { detail: changed }));
  }

  #addressed() {
    const next = { ...DEFAULTS, ...read() };
    const names = new Set([...Object.keys(next), ...Object.keys(this.values)]);
    const changed = [...names].filter((name) => next[name] !== this.values[name]);
    this.values = next;
    if (changed.length) this.dispatchEvent(new CustomEvent("change", { detail: changed }));
  }
}

function read() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function written(values) {
  const said = Object.entries(values).filter(([name, value]) => DEFAULTS[name] !== value);
  return new URLSearchParams(said).toString();
}
