// Hits: chunks, question-answer pairs and entries of a next-token memory, each with its evidence.

import { make, number, widen } from "./dom.js";
import { thumbs } from "./feedback.js";
import { marked } from "./marks.js";

const LABELS = { word: "Words", phrase: "Phrases", sentence: "Nearest sentence", fact: "Facts", entity: "Entities", index: "Indexes" };
const CHIPS = new Set(["word", "phrase", "fact", "entity"]);

/** Return a list of hits. */
export function list(asked, hits, spans, judged) {
  if (!hits.length) return make("p", { class: "empty" }, "No hits.");
  const largest = hits.every((hit) => hit.score > 0) ? Math.max(...hits.map((hit) => hit.score)) : 0;
  const share = (hit) => (largest ? hit.score / largest : null);
  return make("ol", { class: "hits" }, hits.map((hit, row) => card(asked, hit, spans[row] ?? [], share(hit), judged)));
}

function card(asked, hit, spans, share, judged) {
  // What only repeats the hit is left out.
  const reasons = (hit.reasons ?? []).filter((reason) => reason.kind !== "next token" && reason.text !== hit.question);
  const sentences = [...reasons.filter((reason) => reason.kind === "sentence").map((reason) => reason.text), ...(hit.answers ?? [])];
  const body = hit.text === null || hit.text === undefined ? [] : hit.token === undefined
    ? marked(hit.text, spans, sentences) : [context(hit)];
  const canJudge = judged && hit.key !== null && hit.token === undefined;
  return make("li", { class: "hit" }, make("div", { class: "body" },
    head(hit),
    share === null ? null : make("div", { class: "rail", "aria-hidden": "true" }, widen(make("span", { class: "score" }), share)),
    hit.answers ? make("p", { class: "answers", dir: "auto" }, hit.answers.join("; ")) : null,
    hit.answers && hit.key !== null ? source(hit) : null,
    body,
    make("div", { class: "foot" }, metadata(hit.metadata), canJudge ? thumbs(asked, hit) : null)), evidence(reasons));
}

function head(hit) {
  const title = hit.question ?? (hit.title || hit.key || "No source");
  return make("div", { class: "head" },
    make("span", { class: "rank" }, hit.rank),
    make("h3", { dir: "auto" }, title),
    hit.answers || !hit.title ? null : make("bdi", { class: "source" }, `[${hit.key}]`),
    make("span", { class: "number", title: "Score" }, number(hit.weight ?? hit.score)));
}

function source(hit) {
  return make("p", { class: "source" }, hit.title ? [make("bdi", {}, hit.title), " "] : null, make("bdi", {}, `[${hit.key}]`));
}

/** Return the words around the token of an entry. */
function context(hit) {
  return make("p", { class: "text", dir: "auto" }, "…", hit.before, " ", make("mark", {}, hit.token), hit.after ? " " : "", hit.after, "…");
}

function evidence(reasons) {
  if (!reasons.length) return null;
  const kinds = [...new Set(reasons.map((reason) => reason.kind))];
  return make("div", { class: "evidence" }, kinds.flatMap((kind) => [
    make("h4", {}, LABELS[kind] ?? kind[0].toUpperCase() + kind.slice(1)),
    make("ul", {}, reasons.filter((reason) => reason.kind === kind).slice(0, 12).map((reason) => make("li", {},
      make("span", { dir: "auto" }, CHIPS.has(kind) ? make("span", { class: `chip ${kind}`, dir: "auto" }, reason.text) : reason.text),
      make("span", {}, number(reason.score))))),
  ]));
}

const cut = (text) => (text.length > 120 ? `${text.slice(0, 120)}…` : text);

function metadata(fields) {
  const entries = Object.entries(fields ?? {});
  if (!entries.length) return null;
  return make("dl", { class: "data" }, entries.map(([name, value]) => make("div", {},
    make("dt", {}, name), make("dd", { dir: "auto" }, cut(typeof value === "string" ? value : JSON.stringify(value))))));
}
