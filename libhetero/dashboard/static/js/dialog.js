/** Dialogs that keep the focus, close with Escape and give it back. */

import { el } from "./dom.js";

/** Open a dialog; returns {close}. */
export function dialog(title, content, { wide = false } = {}) {
  const cross = el("button.plain", { type: "button", "aria-label": "Close" }, "×");
  const box = el(`dialog${wide ? ".wide" : ""}`, { "aria-label": title }, el("header", {}, el("h2", {}, title), cross), content);
  const close = () => box.close();
  cross.addEventListener("click", close);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && close());
  document.body.append(box);
  box.showModal();
  return { close, box };
}

/** Ask for a line of text; null if it is left. */
export function ask(title, label, value, action = "OK") {
  return new Promise((resolve) => {
    const input = el("input", { type: "text", value, required: true, maxlength: 80, "aria-label": label });
    const form = el(
      "form",
      { method: "dialog" },
      el("label.labelled", {}, el("span", {}, label), input),
      el("div.row.end", {}, el("button.primary", { type: "submit" }, action)),
    );
    let answer = null;
    form.addEventListener("submit", () => (answer = input.value.trim()));
    const { box } = dialog(title, form);
    box.addEventListener("close", () => resolve(answer || null));
    input.select();
  });
}
