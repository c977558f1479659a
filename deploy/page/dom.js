// Elements made of data. Texts of a corpus become text nodes: nothing of them is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";
// Controls, marks that turn the direction of what follows, lone surrogates; tabs and line ends stay.
const ACTING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Return a text as people may see it: characters that act are written as escapes. */
export function shown(text) {
  return String(text).replace(/\r\n?/g, "\n").replace(ACTING, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Return an element with attributes and children, which are elements or texts; what is null is left out. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return an element of SVG. */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map(
    (child) => (child instanceof Node ? child : shown(child))));
  return element;
}

/** Return an element by its id. */
export const byId = (id) => document.getElementById(id);

/** Return a number with separators; of a fraction four places. */
export function number(value) {
  if (typeof value !== "number") return "–";
  return Number.isInteger(value) ? value.toLocaleString("en") : Math.abs(value) >= 1000 ? value.toFixed(1) : value.toFixed(4);
}

/** Return a number and its noun. */
export const count = (value, noun, nouns = `${noun}s`) => `${number(value)} ${value === 1 ? noun : nouns}`;

/** Return how long ago a moment of `performance.now()` was. */
export function elapsed(begun) {
  const ms = performance.now() - begun;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Return bytes as people read them. */
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes > 0 ? Math.min(Math.floor(Math.log(bytes) / Math.log(1024)), units.length - 1) : 0;
  return `${(bytes / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

/** Return a table in a region that scrolls. Cells are texts or elements; numbers, and the columns named so, stand right. */
export function table(caption, columns, rows, right = []) {
  const isNumber = columns.map((name, column) => right.includes(name)
    || (rows.length > 0 && rows.every((row) => row[column] === null || typeof row[column] === "number")));
  const cell = (tag, value, column, attributes = {}) => make(
    tag, { ...attributes, class: isNumber[column] ? "figure" : null, dir: isNumber[column] ? null : "auto" }, value);
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    make("table", {}, make("caption", { class: "hidden" }, caption),
      make("thead", {}, make("tr", {}, columns.map((name, column) => cell("th", name, column, { scope: "col" })))),
      make("tbody", {}, rows.map((row) => make("tr", {}, row.map((value, column) => cell("td", content(value), column)))))));
}

function content(value) {
  if (value === null || value === undefined) return make("span", { class: "null" }, "–");
  if (value instanceof Node || typeof value === "string") return value;
  return typeof value === "number" ? number(value) : JSON.stringify(value);
}

/** Give an element a bar's width; the policy of the page lets no attribute `style` pass. */
export function widen(element, share) {
  element.style.width = `${(100 * Math.min(Math.max(share, 0), 1)).toFixed(1)}%`;
  return element;
}
