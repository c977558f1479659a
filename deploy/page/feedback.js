// Thumbs up and down: whether a hit answers its question, for the server's file of judged questions.

import { ask, problem } from "./api.js";
import { byId, draw, make } from "./dom.js";

const THUMB = "M7 11v9H3.5v-9H7zm0 8.5 2 .8h7.3c.8 0 1.5-.5 1.7-1.3l1.9-6.2c.3-1.1-.5-2.3-1.7-2.3H14l.8-4.2c.2-1-.5-2-1.6-2-.5 0-1 .3-1.2.8L8.6 10.4 7 11";

/** Return the two buttons of a hit. */
export function thumbs(asked, hit) {
  const note = make("span", { class: "kind", role: "status" });
  const buttons = [true, false].map((good) => make("button", {
    type: "button", class: good ? "thumb up" : "thumb down", "aria-pressed": "false",
    "aria-label": good ? `Hit ${hit.rank} answers the question` : `Hit ${hit.rank} does not answer the question`,
    title: good ? "Answers the question" : "Does not answer the question",
    click: () => judge(good),
  }, draw("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, draw("path", { d: THUMB }))));

  async function judge(good) {
    const before = buttons.map((button) => button.getAttribute("aria-pressed"));
    buttons.forEach((button, row) => button.setAttribute("aria-pressed", String(good === (row === 0))));
    try {
      await ask("v1/feedback", {
        memory: asked.memory, index: asked.index, question: asked.question, key: hit.key, good,
        ...(hit.answers ? { answers: hit.answers } : {}),
      });
      note.textContent = "Noted";
    } catch (error) {
      buttons.forEach((button, row) => button.setAttribute("aria-pressed", before[row]));
      note.textContent = "Not noted";
      byId("ask-error").replaceChildren(problem(error));
    }
  }
  return make("div", { class: "thumbs", role: "group", "aria-label": `Judge hit ${hit.rank}` }, note, buttons);
}
