// The view of what a memory holds: its tables, its indexes, and their measured recall.

import { curve } from "./curve.js";
import { byId, make, number, size, table } from "./dom.js";

/** Show a memory's tables and indexes. */
export function contents(memory) {
  const rows = (name) => memory.tables.find((entry) => entry.name === name)?.rows;
  const bytes = [...memory.tables, ...memory.indexes].reduce((sum, entry) => sum + (entry.bytes ?? 0), 0);
  const totals = [["Documents", number(rows("documents"))], ["Chunks", number(rows("chunks"))],
    ["Indexes", number(memory.indexes.length)], ["Size", size(bytes)], ["Snapshot", memory.snapshot], ["Created (UTC)", memory.created.slice(0, 16).replace("T", " ")]];
  const panel = (title, ...children) => make("section", { class: "panel" }, make("h2", {}, title), children);
  const points = (index) => Object.keys(index.recall.curve ?? {}).length;
  const measured = memory.indexes.filter((index) => index.recall).sort((a, b) => points(b) - points(a));
  byId("contents-body").replaceChildren(
    panel(memory.name, make("dl", { class: "totals" }, totals.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))))),
    panel("Indexes",
      memory.indexes.filter((index) => index.problem).map((index) => make("div", { class: "error" },
        make("strong", {}, `${index.name} is not served.`), make("p", { dir: "auto" }, index.problem))),
      table("Indexes", ["index", "type", "rows", "size", "recall"], memory.indexes.map((index) => [
        index.name, index.served === false ? `${index.type} (damaged)` : index.type, index.rows, size(index.bytes), index.recall ? index.recall.recall.toFixed(3) : null]), ["size", "recall"]),
      make("details", {}, make("summary", {}, "Settings of the indexes"), memory.indexes.map(settings))),
    measured.length ? panel("Recall", make("div", { class: "recall" }, measured.map((index) => make("div", {}, curve(index))))) : "",
    panel("Tables", table("Tables", ["table", "rows", "size"], memory.tables.map((entry) => [entry.name, entry.rows, size(entry.bytes)]), ["size"])));
}

function settings(index) {
  const entries = Object.entries(index.settings).filter(([, value]) => value !== null);
  return make("div", {}, make("h3", {}, index.name), table(`Settings of ${index.name}`, ["setting", "value"], entries.map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)])));
}
