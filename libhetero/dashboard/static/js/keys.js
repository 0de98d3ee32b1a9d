/** The keyboard: one table, which the help shows as well. */

import { dialog } from "./dialog.js";
import { el, typing } from "./dom.js";

/** Keys, each {keys, what, run, tab}; a key that has a tab works there alone. */
export class Keys {
  constructor(currentTab) {
    this.currentTab = currentTab;
    this.list = [];
    window.addEventListener("keydown", (event) => this.#pressed(event));
  }

  add(keys, what, run, tabs) {
    this.list.push({ keys, what, run, tabs });
  }

  #pressed(event) {
    if (typing(event) || document.querySelector("dialog[open]")) return;
    const plain = !event.altKey;
    const name = (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
    const onButton = event.target.matches?.("button, a, summary") && (event.key === " " || event.key === "Enter");
    const onSlider = event.target.matches?.("input[type=range]") && event.key.startsWith("Arrow");
    if (!plain || onButton || onSlider) return;
    const found = this.list.find((one) => one.keys.includes(name) && (!one.tabs || one.tabs.includes(this.currentTab())));
    if (!found) return;
    event.preventDefault();
    found.run(event);
  }

  /** Show all keys. */
  help() {
    const rows = this.list.map(({ keys, what, tabs }) =>
      el(
        "tr",
        {},
        el("td", {}, keys.map((key, i) => [i ? " or " : null, el("kbd", {}, KEY_NAMES[key] ?? key.toUpperCase())])),
        el("td", {}, what),
        el("td.faint", {}, tabs ? tabs.join(", ") : "everywhere"),
      ),
    );
    const mouse = [
      ["Wheel, drag", "zoom, move"],
      ["+, −, arrows in the scatter", "zoom, move, once Tab or a click has led there"],
      ["Shift and drag", "lasso, whatever the tool"],
      ["Ctrl, or Alt, with a lasso or box", "add to, or subtract from, what is chosen"],
      ["Click on a particle", "its image, and its volume on demand"],
    ].map(([key, what]) => el("tr", {}, el("td", {}, key), el("td", {}, what), el("td")));
    const table = el("table.plain", {}, el("tbody", {}, rows, mouse));
    dialog("Keys and mouse", table, { wide: true });
  }
}

const KEY_NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc", "Ctrl+z": "Ctrl Z", "Ctrl+y": "Ctrl Y", "[": "[", "]": "]" };
