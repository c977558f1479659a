// What comes next after a text: by the language model alone, by the memory's neighbours, and by both.

import { make, number, shown, widen } from "./dom.js";

const NAMES = { model: "The model alone", neighbours: "Its memory alone", mixed: "Both" };

/** Return a panel with the likely tokens of each. */
export function probabilities(likely) {
  return make("section", { class: "panel" }, make("h2", {}, "What comes next"),
    Object.entries(likely).map(([name, tokens]) => [
      make("h3", {}, NAMES[name] ?? name),
      make("ol", { class: "bars" }, tokens.map(({ token, probability }) => make("li", {},
        make("span", { class: "code", dir: "auto" }, shown(token).trim() || JSON.stringify(token)),
        make("span", { "aria-hidden": "true" }, widen(make("span", { class: "score bar-mark" }), probability)),
        make("span", { class: "figure" }, number(probability)))))]));
}
