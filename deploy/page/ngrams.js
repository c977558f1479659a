// A phrase in an n-gram index: how often it occurs, where, in which words, and what follows it.

import { ask } from "./api.js";
import { count, make, number, shown, widen } from "./dom.js";

const FOLLOWING = 12;

/** Return panels about a phrase, and what to say of them. */
export async function concordance(asked, signal) {
  const form = { memory: asked.memory, index: asked.index, phrases: [asked.question] };
  const [lines, following] = await Promise.all([
    ask("v1/ngrams", { ...form, what: "concordance", limit: asked.k }, signal),
    // A key with a filter sees its own documents, but no counts of the whole memory.
    ask("v1/ngrams", { ...form, what: "continuations", limit: FOLLOWING }, signal).catch((error) => {
      if (error.status !== 403) throw error;
      return null;
    }),
  ]);
  const documents = lines.concordance[0];
  const total = following?.counts[0];
  const said = [total === undefined ? null : count(total, "occurrence"), `${count(documents.length, "passage")} shown`];
  return {
    snapshot: lines.snapshot, said: said.filter(Boolean).join(", "),
    panels: documents.length ? make("div", { class: "columns" }, contexts(documents), next(asked.question, following?.continuations[0] ?? []))
      : make("p", { class: "empty" }, "The phrase does not occur."),
  };
}

function contexts(documents) {
  return make("section", { class: "panel" }, make("h2", {}, "In context"), make("ol", { class: "kwic" }, documents.map((hit) => make("li", {},
    make("div", { class: "head" },
      make("h3", { dir: "auto" }, hit.title || hit.key),
      hit.title ? make("bdi", { class: "source" }, `[${hit.key}]`) : null,
      make("span", { class: "number" }, count(hit.count, "occurrence"))),
    make("ol", {}, hit.occurrences.map((line) => make("li", {},
      make("bdi", { class: "before" }, line.before), " ", make("mark", {}, shown(line.phrase).replace(/\s+/g, " ")), " ", make("bdi", {}, line.after))))))));
}

function next(phrase, tokens) {
  if (!tokens.length) return null;
  const largest = Math.max(...tokens.map((token) => token.count));
  return make("section", { class: "panel" }, make("h2", {}, "What follows"), make("ol", { class: "bars" }, tokens.map((token) => make("li", {},
    make("span", { class: "code", dir: "auto" }, token.text.trim() || JSON.stringify(token.text)),
    make("span", { "aria-hidden": "true" }, widen(make("span", { class: "score bar-mark" }), token.count / largest)),
    make("span", { class: "figure" }, number(token.count))))));
}
