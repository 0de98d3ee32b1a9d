/** Short messages at the edge of the page. */

import { el } from "./dom.js";

/** Say something for a few seconds; faults stay until they are closed. */
export function say(text, kind = "info") {
  const close = el("button.plain", { type: "button", "aria-label": "Close" }, "×");
  const note = el(`div.toast.${kind}`, { role: kind === "fault" ? "alert" : "status" }, el("span", {}, text), close);
  close.addEventListener("click", () => note.remove());
  document.getElementById("toasts").append(note);
  if (kind !== "fault") setTimeout(() => note.remove(), 6000);
  return note;
}

/** Run something that may fail, and say the fault. */
export async function tried(call) {
  try {
    return await call();
  } catch (fault) {
    if (fault.name === "AbortError") return undefined;
    console.warn(fault);
    say(fault.message, "fault");
    return undefined;
  }
}
