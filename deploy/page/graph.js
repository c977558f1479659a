// The part of a graph that answers a question: its picture, and its facts as text.

import { ask, problem } from "./api.js";
import { count, make, number } from "./dom.js";

const PATIENCE = 1500;

/** Return a panel, with the picture if that is drawn soon; else it follows, and its place is kept until then. */
export async function graph(asked, signal) {
  const body = make("div", { "aria-live": "polite" }, make("div", { class: "picture" }, make("p", { class: "empty" }, "Drawing the graph…")));
  await Promise.race([fill(body, asked, signal), new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  return make("section", { class: "panel", "aria-labelledby": "graph-title" },
    make("h2", { id: "graph-title" }, "From the question to the hits"), body);
}

async function fill(body, asked, signal) {
  try {
    const found = await ask("v1/graph", asked, signal);
    body.replaceChildren(await picture(found), ...facts(found));
    const region = body.querySelector(".picture");
    requestAnimationFrame(() => (region.scrollTop = (region.scrollHeight - region.clientHeight) / 2));
  } catch (error) {
    if (error.name !== "AbortError") body.replaceChildren(problem(error));
  }
}

/** Return the picture as an image, in which no script runs and nothing is loaded. */
async function picture(found) {
  const address = URL.createObjectURL(new Blob([found.svg], { type: "image/svg+xml" }));
  const kinds = (kind) => found.nodes.filter((node) => node.kind === kind).length;
  const alt = `The question, ${count(kinds("entity"), "entity", "entities")} and ${count(kinds("passage"), "passage")} that they lead to. The facts and the hits are listed below.`;
  const image = make("img", { src: address, alt });
  // Its size is known before it is shown, so that nothing moves twice.
  await image.decode();
  return make("div", {},
    make("div", { class: "picture", tabindex: "0", role: "region", "aria-label": "Picture of the graph" }, image),
    make("p", {}, make("a", { href: address, download: "graph.svg" }, "Save the picture")));
}

function facts(found) {
  const names = Object.fromEntries(found.nodes.map((node) => [node.id, node.label]));
  const linked = found.edges.filter((edge) => edge.kind === "fact");
  const notes = found.notes.map((note) => make("p", { class: "quiet", dir: "auto" }, note));
  if (!linked.length) return [make("p", { class: "quiet" }, "No fact is linked to the question."), ...notes];
  const chip = (kind, value) => make("span", { class: `chip ${kind}`, dir: "auto" }, value || "–");
  // Where the picture does not fit, people read the facts.
  const open = !matchMedia("(min-width: 960px)").matches;
  return [make("details", { open }, make("summary", {}, `Facts linked to the question (${linked.length})`),
    make("ol", { class: "facts" }, linked.map((edge) => make("li", {},
      chip("entity", names[edge.source]), " → ", chip("fact", edge.label), " → ", chip("entity", names[edge.target]),
      make("span", { class: "kind" }, ` ${number(edge.weight)}`)))), notes)];
}
