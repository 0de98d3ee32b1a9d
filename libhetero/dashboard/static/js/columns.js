/** The columns of a run's particles: what there is, and their numbers, each fetched once. */

import { array, get } from "./api.js";

const GROUPS = [
  ["latent", "Latent"],
  ["embedding", "Planes"],
  ["class", "Classes"],
  ["particle", "Particle list"],
  ["region", "Regions"],
  ["selection", "Selections"],
];

/** Columns of one run. */
export class Columns {
  constructor(run) {
    this.run = run;
    this.list = [];
    this.held = new Map();
  }

  async load() {
    this.list = await get(`api/runs/${this.run}/columns`);
    return this;
  }

  find(name) {
    return this.list.find((column) => column.name === name);
  }

  /** The numbers of a column. */
  values(name) {
    if (!this.held.has(name)) {
      const asked = array(`api/runs/${this.run}/column?name=${encodeURIComponent(name)}`, "float32").then((one) => one.values);
      asked.catch(() => this.held.delete(name));
      this.held.set(name, asked);
    }
    return this.held.get(name);
  }

  /** Fetch the names of a category's values, where it has some that were not told with it. */
  async named(name) {
    const column = this.find(name);
    if (column?.kind === "category" && column.categories === undefined && column.group !== "class") {
      column.categories = await get(`api/runs/${this.run}/categories?name=${encodeURIComponent(name)}`).catch(() => null);
    }
    return column;
  }

  /** What an axis can show: for `select` of dom.js. */
  numbers() {
    return this.#grouped((column) => column.kind === "number");
  }

  /** What points can be coloured by. */
  colours() {
    return this.#grouped(() => true);
  }

  classes() {
    return this.list.filter((column) => column.kind === "category");
  }

  #grouped(wanted) {
    return GROUPS.map(([group, label]) => ({
      group: label,
      options: this.list.filter((one) => (one.group ?? "particle") === group && wanted(one)).map((one) => [one.name, one.label]),
    })).filter((one) => one.options.length);
  }

  /** The two columns that are looked at first. */
  axes() {
    const [plane] = this.planes();
    if (plane) return [plane.x, plane.y];
    const numbers = this.list.filter((column) => column.kind === "number");
    const first = [...numbers.filter((column) => column.group === "latent"), ...numbers.filter((column) => column.group !== "latent")];
    return [first[0]?.name, (first[1] ?? first[0])?.name];
  }

  /** Pairs of columns that are a plane, the best known first: [{label, x, y}]. */
  planes() {
    const embedded = this.list
      .filter((one) => one.group === "embedding" && one.name.endsWith("/x"))
      .map(({ name, label }) => ({ label: label.replace(/ 1 \(/, " ("), x: name, y: `${name.slice(0, -2)}/y` }));
    const known = [["PCA", "pca1", "pca2"], ["Latent 1, 2", "z1", "z2"]].map(([label, x, y]) => ({ label, x, y }));
    return [...embedded, ...known].filter(({ x, y }) => this.find(x) && this.find(y));
  }

  /** What points are coloured by first. */
  colour() {
    const classes = this.list.filter((column) => column.group === "class" && column.kind === "category");
    const found = classes.find((column) => !/region_\d+_class$/.test(column.name)) ?? classes[0];
    return (found ?? this.find("density") ?? this.list.find((column) => column.kind === "number"))?.name;
  }

  /** Whether two columns are of one plane, so that both axes have one scale. */
  alike(x, y) {
    const stem = (name) => name?.replace(/\/[xy]$|\d+$/, "");
    return stem(x) === stem(y) && ["latent", "embedding"].includes(this.find(x)?.group) && x !== y;
  }
}
