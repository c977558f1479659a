// The view in which an index is asked.

import { ask, problem } from "./api.js";
import { byId, count, elapsed, make } from "./dom.js";
import { graph } from "./graph.js";
import { list } from "./hits.js";
import { concordance } from "./ngrams.js";
import { probabilities } from "./next.js";

const LABELS = { ngram: "Phrase", knn_lm: "Text to continue" };
const BUTTONS = { ngram: "Find", knn_lm: "Continue" };
// Letters of a text in which words are looked for, and of all texts of a request, whose size the server bounds.
const LONGEST = 20_000, LETTERS = 200_000;
let running = null;

/** Show what a memory's indexes are; the first hybrid one, else the first, is chosen. */
export function offer(memory) {
  const select = byId("index"), before = select.value;
  select.replaceChildren(...memory.indexes.map((index) => make(
    "option", { value: index.name, disabled: index.served === false }, `${index.name} (${index.type})${index.served === false ? ", damaged" : ""}`)));
  const usable = memory.indexes.filter((index) => index.served !== false);
  const chosen = usable.find((index) => index.name === before) ?? usable.find((index) => index.type === "hybrid") ?? usable[0];
  if (chosen) select.value = chosen.name;
  select.disabled = !chosen;
  byId("ask-status").textContent = chosen ? "" : "This memory has no index that can be asked.";
  word(memory);
}

/** Say what is typed in: a question, or for some indexes a phrase or a text. */
export function word(memory) {
  const type = memory.indexes.find((index) => index.name === byId("index").value)?.type;
  byId("question-label").textContent = LABELS[type] ?? "Question";
  byId("ask-form").querySelector("button").textContent = BUTTONS[type] ?? "Ask";
  // These are of searches.
  byId("explain").disabled = byId("where").disabled = type === "ngram";
}

/** Forget the answer of another memory or index. */
export function clear() {
  running?.abort();
  release();
  byId("answer").replaceChildren();
  byId("ask-error").replaceChildren();
  byId("ask-status").textContent = "";
}

/** Ask, and show the answer. */
export async function search(memory, judged) {
  running?.abort();
  const control = (running = new AbortController());
  const index = memory.indexes.find((entry) => entry.name === byId("index").value);
  const asked = { memory: memory.name, index: index.name, question: byId("question").value, k: Number(byId("k").value) };
  const answer = byId("answer"), status = byId("ask-status");
  const begun = performance.now();
  byId("ask-error").replaceChildren();
  status.textContent = "Asking…";
  answer.setAttribute("aria-busy", "true");
  try {
    const found = await (index.type === "ngram" ? concordance : hits)(asked, control.signal, index, judged);
    if (running !== control) return;
    release();
    answer.replaceChildren(found.panels);
    status.textContent = `${found.said} in ${elapsed(begun)}, snapshot ${found.snapshot}`;
  } catch (error) {
    if (error.name === "AbortError" || running !== control) return;
    release();
    answer.replaceChildren();
    status.textContent = "";
    byId("ask-error").replaceChildren(problem(error));
    if (error.status === 401) document.dispatchEvent(new CustomEvent("keyless", { detail: error }));
  } finally {
    if (running === control) answer.setAttribute("aria-busy", "false");
  }
}

async function hits(asked, signal, index, judged) {
  const { memory, index: name, question, k } = asked;
  const where = byId("where").value.trim() || null;
  const explain = byId("explain").checked;
  const [found, walk] = await Promise.all([
    ask("v1/search", { memory, index: name, queries: [question], k, where, explain }, signal),
    index.type === "graph" && explain && !where ? graph({ memory, index: name, question }, signal) : null,
  ]);
  const fallen = found.source?.[0] === "passages";
  const answered = fallen ? found.passages[0] : found.hits[0];
  const spans = await highlight(asked, answered, signal);
  return {
    snapshot: found.snapshot, said: count(answered.length, "hit"),
    panels: make("div", {}, walk,
      fallen ? make("p", { class: "panel" }, `No pair of ${name} answers this for sure; these are passages of ${found.fallback}.`) : null,
      found.next ? probabilities(found.next[0]) : null,
      make("h2", { class: "hidden" }, "Hits"), list(asked, answered, spans, judged)),
  };
}

/** Return where the question's words are in the hits' texts; nothing where that cannot be told. */
async function highlight({ memory, index, question }, answered, signal) {
  const rows = answered.map((hit, row) => [row, hit.text]).filter(([, text]) => text);
  if (!rows.length) return [];
  const most = Math.min(LONGEST, Math.floor(LETTERS / rows.length));
  try {
    const found = await ask("v1/highlight", { memory, index, question, texts: rows.map(([, text]) => text.slice(0, most)) }, signal);
    return Object.fromEntries(rows.map(([row], place) => [row, found.spans[place]]));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return [];
  }
}

/** Let go of the pictures that are shown. */
function release() {
  for (const image of byId("answer").querySelectorAll("img")) URL.revokeObjectURL(image.src);
}
