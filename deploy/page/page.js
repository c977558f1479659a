// The page: which memory is looked at, which view is shown, and the key.

import { ask, key, problem } from "./api.js";
import { contents } from "./contents.js";
import { byId, make } from "./dom.js";
import * as asking from "./search.js";
import * as sql from "./sql.js";

const VIEWS = { "tab-ask": "ask", "tab-sql": "sql", "tab-memory": "contents" };
let memories = [], can = new Set();

const memory = () => memories.find((entry) => entry.name === byId("memory").value) ?? memories[0];

/** Read what is served, and show it. */
async function load() {
  byId("ask-error").replaceChildren();
  try {
    const found = await ask("v1/indexes");
    memories = found.memories;
    can = new Set(found.can ?? []);
  } catch (error) {
    memories = [];
    if (error.status === 401) openKey(key.get() ? error.message : null);
    byId("ask-error").replaceChildren(problem(error));
  }
  const select = byId("memory"), before = select.value;
  select.replaceChildren(...memories.map((entry) => make("option", { value: entry.name }, entry.name)));
  if (memories.some((entry) => entry.name === before)) select.value = before;
  select.disabled = !memories.length;
  byId("tab-sql").hidden = !can.has("sql");
  if (!can.has("sql") && byId("tab-sql").getAttribute("aria-selected") === "true") show(byId("tab-ask"));
  choose();
}

function choose() {
  const chosen = memory();
  asking.clear();
  sql.clear();
  byId("snapshot").textContent = chosen ? `snapshot ${chosen.snapshot}` : "";
  byId("contents-body").replaceChildren();
  byId("index").disabled = !chosen;
  if (!chosen) return;
  asking.offer(chosen);
  sql.offer(chosen);
  contents(chosen);
}

/** Show the view of a tab. */
function show(chosen, focus = false) {
  for (const [id, view] of Object.entries(VIEWS)) {
    const tab = byId(id), isChosen = tab === chosen;
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    byId(view).hidden = !isChosen;
  }
  if (focus) chosen.focus();
}

function walk(event) {
  const tabs = Object.keys(VIEWS).map(byId).filter((tab) => !tab.hidden);
  const at = tabs.indexOf(event.target), last = tabs.length - 1;
  const next = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at ? at - 1 : last, Home: 0, End: last }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  show(tabs[next], true);
}

function openKey(message) {
  byId("key").value = "";
  byId("key-error").textContent = message ?? "";
  byId("key-error").hidden = !message;
  byId("key-forget").hidden = !key.get();
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

function useKey(value) {
  key.set(value);
  byId("key-dialog").close();
  return load();
}

const on = (id, event, run) => byId(id).addEventListener(event, run);

/** Let a form run without leaving the page. */
function submits(id, run) {
  on(id, "submit", (event) => {
    event.preventDefault();
    run();
  });
}

for (const id of Object.keys(VIEWS)) {
  on(id, "click", () => show(byId(id)));
  on(id, "keydown", walk);
}
on("memory", "change", choose);
on("index", "change", () => {
  asking.clear();
  asking.word(memory());
});
submits("ask-form", () => memory() && asking.search(memory(), can.has("feedback")));
submits("sql-form", () => memory() && sql.run(memory()));
on("query", "keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("sql-form").requestSubmit();
});
submits("key-form", () => byId("key").value.trim() && useKey(byId("key").value.trim()));
on("key-open", "click", () => openKey(null));
on("key-forget", "click", () => useKey(null));
on("key-close", "click", () => byId("key-dialog").close());
document.addEventListener("keyless", (event) => openKey(event.detail.message));
load();
