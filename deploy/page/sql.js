// The view in which tables are asked in SQL.

import { ask, problem } from "./api.js";
import { byId, count, elapsed, make, table } from "./dom.js";

const MOST = 500;
let running = null;

/** Show the views that can be asked, each as a button that writes a statement. */
export function offer(memory) {
  const query = byId("query");
  const write = (view) => {
    query.value = `SELECT * FROM ${quoted(view)} LIMIT 20`;
    query.focus();
  };
  const views = memory.tables.map((entry) => entry.view ?? entry.name);
  byId("views").replaceChildren(...[...views, "indexes", "snapshots"].map((view) => make("li", {},
    make("button", { type: "button", class: "plain code", click: () => write(view) }, view))));
  if (!query.value) query.value = "SELECT title, count(*) AS chunks, sum(tokens) AS tokens\nFROM chunks GROUP BY title ORDER BY tokens DESC LIMIT 20";
}

const quoted = (name) => (/^[a-z_][a-z0-9_]*$/i.test(name) ? name : `"${name.replaceAll('"', '""')}"`);

/** Forget the rows of another memory. */
export function clear() {
  running?.abort();
  for (const id of ["rows", "sql-error", "sql-status"]) byId(id).replaceChildren();
}

/** Run the statement, and show its rows. */
export async function run(memory) {
  running?.abort();
  const control = (running = new AbortController());
  const begun = performance.now();
  byId("sql-error").replaceChildren();
  byId("sql-status").textContent = "Running…";
  try {
    const found = await ask("v1/sql", { memory: memory.name, query: byId("query").value }, control.signal);
    if (running !== control) return;
    const rows = found.rows.slice(0, MOST);
    byId("rows").replaceChildren(make("div", { class: "panel" }, table("Rows of the answer", found.columns, rows)));
    const more = found.truncated ? "The first " : "";
    const shown = rows.length < found.rows.length ? `, of which ${MOST} are shown,` : "";
    byId("sql-status").textContent = `${more}${count(found.rows.length, "row")}${shown} in ${elapsed(begun)}, snapshot ${found.snapshot}`;
  } catch (error) {
    if (error.name === "AbortError" || running !== control) return;
    byId("rows").replaceChildren();
    byId("sql-status").textContent = "";
    byId("sql-error").replaceChildren(problem(error));
  }
}
