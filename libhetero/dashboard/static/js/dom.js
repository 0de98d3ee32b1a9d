/** Elements made and filled without HTML text, so that no name of a file can become markup. */

/**
 * Make an element: `el("button", { class: "primary", onclick: run, disabled: true }, "Run")`.
 * Children are text or elements; null and false are left out.
 */
export function el(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  node.classList.add(...classes);
  set(node, attributes);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  set(node, attributes);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function set(node, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.setAttribute("class", [node.getAttribute("class"), value].filter(Boolean).join(" "));
    else if (key === "value") node.value = value;
    else if (key === "style") Object.assign(node.style, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
}

/** Put other children in a node's place of its own. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A `<select>` of [value, text] pairs, or of {group, options} of them. */
export function select(attributes, options, chosen) {
  const option = ([value, text]) => el("option", { value, selected: String(value) === String(chosen) }, text);
  return el(
    "select",
    attributes,
    options.map((one) => (Array.isArray(one) ? option(one) : el("optgroup", { label: one.group }, one.options.map(option)))),
  );
}

/** A label above what it names. */
export function labelled(text, control, hint) {
  return el("label.labelled", { title: hint }, el("span", {}, text), control);
}

/** A place that has nothing yet: what is missing, and what makes it. */
export function empty(title, text, command) {
  return el(
    "div.empty",
    {},
    el("h3", {}, title),
    text && el("p", {}, text),
    command && commandLine(command),
  );
}

/** A command with a button that copies it. */
export function commandLine(command) {
  const button = el("button.small", { type: "button", title: "Copy the command" }, "Copy");
  button.addEventListener("click", async () => {
    await copy(command);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return el("div.command", {}, el("code", {}, command), button);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { style: { position: "fixed", opacity: 0 } }, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** Save a blob under a name. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Call once after `delay` ms of silence. */
export function debounced(call, delay) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...values), delay);
  };
}

/** Whether keys belong to a field that is being typed in. */
export function typing(event) {
  const target = event.target;
  return target.matches?.("input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select") ?? false;
}
